"""Takes on what a systemd unit restricts, without systemd, and becomes a program.

    unit-restrictions.py FILTER WRITABLE CAPABILITIES -- program [argument ...]

FILTER is a file of struct sock_filter, WRITABLE the one directory that stays so, CAPABILITIES the names of the bounding
set with commas. To be run by root in a mount namespace of its own. Each step is what systemd.exec(5) says of a directive;
the order is systemd's: mounts, limits, capabilities, no_new_privs, filter.
"""
import ctypes
import os
import resource
import subprocess
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_CAPBSET_DROP = 38, 22, 2, 24
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()

libc = ctypes.CDLL(None, use_errno=True)


def prctl(*arguments):
    if libc.prctl(*(ctypes.c_ulong(argument) if isinstance(argument, int) else argument for argument in arguments)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"prctl {arguments[0]}")


def mounts(writable):
    run = lambda *words: subprocess.run(words, check=True)
    run("mount", "--bind", writable, writable)
    # a checkout below /tmp, of which the unit gets another one, is shown again at its place: it stands for /usr/lib/modhost
    checkout = os.getcwd() if os.getcwd().startswith("/tmp/") else None
    if checkout:
        keep = os.path.join(writable, "checkout")
        os.makedirs(keep, exist_ok=True)
        run("mount", "--bind", checkout, keep)
    # PrivateTmp=yes
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
    if checkout:
        os.makedirs(checkout)
        run("mount", "--move", keep, checkout)
        os.rmdir(keep)
        os.chdir(checkout)
    # ProtectSystem=strict: all but what the kernel itself serves
    for line in open("/proc/self/mounts").read().splitlines():
        point = line.split()[1].encode().decode("unicode_escape")
        served = point.split("/")[1] in ("proc", "sys", "dev", "tmp") or point.startswith(writable)
        if not served:
            run("mount", "-o", "remount,bind,ro", point)


def main():
    filter_path, writable, kept = sys.argv[1:4]
    program = sys.argv[5:]
    with open(filter_path, "rb") as file:
        code = file.read()
    mounts(writable)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # LimitNOFILE is a wish of the unit; a container may have less to give
    files = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.umask(0o077)
    wanted = kept.replace("CAP_", "").split(",")
    for number, name in enumerate(CAPABILITIES):
        if name not in wanted:
            prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Program(len(code) // 8, code)), 0, 0)
    os.execvp(program[0], program)


main()
