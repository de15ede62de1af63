"""Probes of the sandbox as a Python program would try them; one line each: name, outcome, what was found.

Arguments are NAME=VALUE. A probe returns what it got hold of (None when it only acted) and raises OSError when it was
refused; it undoes what it has done.
"""

import ctypes
import errno
import glob
import os
import resource
import socket
import stat
import subprocess
import sys
import tempfile

ARGUMENTS = dict(argument.split("=", 1) for argument in sys.argv[1:])
LIBC = ctypes.CDLL(None, use_errno=True)
PROBES = {}
MIB = 1024 * 1024


def probe(function):
    PROBES["py-" + function.__name__.replace("_", "-")] = function
    return function


def read(path):
    with open(path, "rb") as file:
        return file.read(200)


def refused(number):
    raise OSError(number, os.strerror(number))


def call(function, *arguments):
    if function(*arguments) == -1:
        refused(ctypes.get_errno())


@probe
def secret_by_path():
    return read(ARGUMENTS["secret"])


@probe
def secret_by_dots():
    return read("../" * 20 + ARGUMENTS["secret"].lstrip("/"))


@probe
def secret_by_planted_link():
    return read(ARGUMENTS["data"] + "/planted-link")


@probe
def secret_by_directory_descriptor():
    root = os.open("/proc/self/cwd", os.O_PATH)
    for _ in range(20):
        root = os.open("..", os.O_PATH, dir_fd=root)
    with open(os.open(ARGUMENTS["secret"].lstrip("/"), os.O_RDONLY, dir_fd=root), "rb") as file:
        return file.read(200)


@probe
def secret_by_own_root():
    return read("/proc/self/root" + ARGUMENTS["secret"])


@probe
def secret_by_thread_root():
    return read(f"/proc/thread-self/root/proc/{ARGUMENTS['first']}/root{ARGUMENTS['secret']}")


@probe
def secret_by_walk():
    """Looks at every file from `/` on, or from where the test has made its room, for one of the secret's name."""
    for folder, folders, files in os.walk(ARGUMENTS["walk"]):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "usr", "sys")]
        if ARGUMENTS["secretname"] in files:
            return read(os.path.join(folder, ARGUMENTS["secretname"]))
    refused(errno.ENOENT)


@probe
def secret_by_descriptors():
    for path in glob.glob("/proc/*/fd/*") + glob.glob("/proc/self/task/*/fd/*"):
        try:
            if stat.S_ISREG(os.stat(path).st_mode) and ARGUMENTS["secretname"] in os.readlink(path):
                return read(path)
        except OSError:
            continue
    refused(errno.ENOENT)


@probe
def secret_by_mapped_files():
    for path in glob.glob("/proc/[0-9]*/map_files/*"):
        try:
            if ARGUMENTS["secretname"] in os.readlink(path):
                return read(path)
        except OSError:
            continue
    return read(f"/proc/{ARGUMENTS['hostpid']}/root{ARGUMENTS['secret']}")


@probe
def environment_of_others():
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            text = open(path, "rb").read()
        except OSError:
            continue
        if b"MODHOST_TEST_SECRET=" in text:
            return text[text.index(b"MODHOST_TEST_SECRET=") :][:200]
    refused(errno.ENOENT)


@probe
def own_environment():
    return os.environ["MODHOST_TEST_SECRET"] if "MODHOST_TEST_SECRET" in os.environ else refused(errno.ENOENT)


@probe
def other_module_data():
    return read(ARGUMENTS["otherdata"])


@probe
def other_module_token():
    return read(ARGUMENTS["othertoken"])


@probe
def list_other_modules():
    return " ".join(os.listdir(os.path.dirname(os.path.dirname(ARGUMENTS["otherdata"]))))


@probe
def password_file():
    """A module has an /etc/passwd of one line; the machine's has root in it."""
    text = open("/etc/passwd").read()
    return None if "root:" in text else refused(errno.ENODATA)


@probe
def host_shared_memory():
    """By the C library: Python's own class would remove what it has only looked at."""
    name = "/" + os.path.basename(ARGUMENTS["shmfile"])
    segment = LIBC.shm_open(name.encode(), os.O_RDONLY, 0)
    return os.pread(segment, 200, 0) if segment != -1 else refused(ctypes.get_errno())


@probe
def admin_socket():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(ARGUMENTS["adminsocket"])


@probe
def abstract_socket():
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect("\0" + ARGUMENTS["abstract"])
        except ConnectionRefusedError:
            # Some servers bind the name alone, some with zeros up to the end of the address.
            client.connect("\0" + ARGUMENTS["abstract"].ljust(107, "\0"))


@probe
def tcp_by_name():
    socket.create_connection(("localhost", int(ARGUMENTS["tcpport"])), timeout=5).close()


@probe
def udp_send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", int(ARGUMENTS["udpport"])))


@probe
def interfaces():
    """Names of network devices besides the loopback: by netlink, as the C library asks."""
    return None if len(socket.if_nameindex()) > 0 else refused(errno.ENODATA)


@probe
def unshare_by_library():
    call(LIBC.unshare, 0x10000000)


@probe
def unshare_by_program():
    ended = subprocess.run(["unshare", "--user", "--map-root-user", "true"], stderr=subprocess.DEVNULL)
    return None if ended.returncode == 0 else refused(errno.EPERM)


@probe
def enter_by_program():
    ended = subprocess.run(["nsenter", "--target", ARGUMENTS["first"], "--net", "true"], stderr=subprocess.DEVNULL)
    return None if ended.returncode == 0 else refused(errno.EPERM)


@probe
def mount_by_program():
    point = tempfile.mkdtemp(dir=ARGUMENTS["data"])
    ended = subprocess.run(["mount", "-t", "tmpfs", "none", point], stderr=subprocess.DEVNULL)
    if ended.returncode == 0:
        LIBC.umount2(point.encode(), 2)
    os.rmdir(point)
    return None if ended.returncode == 0 else refused(errno.EPERM)


@probe
def trace_by_library():
    child = os.fork()
    if child == 0:
        while True:
            os.read(0, 0)
    try:
        call(LIBC.ptrace, 16, child, None, None)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@probe
def kill_host():
    os.kill(int(ARGUMENTS["hostpid"]), 0)


@probe
def kill_other_module():
    os.kill(int(ARGUMENTS["otherpid"]), 0)


@probe
def processes_of_others():
    """More processes than a sandbox holds: its first one, this one, and what runs the probes."""
    seen = [name for name in os.listdir("/proc") if name.isdigit()]
    return None if len(seen) > 8 else refused(errno.ESRCH)


@probe
def become_root():
    os.setresuid(0, 0, 0)


@probe
def nice_negative():
    os.setpriority(os.PRIO_PROCESS, 0, -5)


@probe
def real_time():
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


@probe
def raise_processes():
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    if hard != resource.RLIM_INFINITY:
        try:
            resource.setrlimit(resource.RLIMIT_NPROC, (hard + 1, hard + 1))
        except ValueError:
            refused(errno.EPERM)


@probe
def change_root():
    os.chroot("/tmp")


@probe
def make_device():
    path = ARGUMENTS["data"] + "/device-py"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    os.unlink(path)


@probe
def write_code():
    path = ARGUMENTS["code"] + "/escape.py"
    open(path, "x").close()
    os.unlink(path)


@probe
def write_system_file():
    """Opens a file of the system for writing, and writes nothing."""
    with open("/usr/lib/os-release", "r+b"):
        return None


@probe
def any_kernel_setting():
    """Looks for a setting that can be opened for writing, and writes nothing."""
    for folder, _, files in os.walk("/proc/sys"):
        for name in files:
            try:
                os.close(os.open(os.path.join(folder, name), os.O_WRONLY))
                return os.path.join(folder, name)
            except OSError:
                continue
    refused(errno.EROFS)


@probe
def device_nodes():
    """Any of the devices that root may open: raw memory, disks, consoles."""
    for name in ("mem", "fuse", "loop-control", "kmsg", "tty1", "net/tun"):
        try:
            os.close(os.open("/dev/" + name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
            return name
        except OSError:
            continue
    refused(errno.ENOENT)


def fill(folder, mib):
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(mib):
            file.write(b"x" * MIB)
            file.flush()


@probe
def fill_tmp():
    fill("/tmp", 17)


@probe
def fill_shared_memory():
    fill("/dev/shm", 17)


@probe
def control_data():
    with open(ARGUMENTS["data"] + "/control-py", "w") as file:
        file.write("x")
    os.unlink(ARGUMENTS["data"] + "/control-py")


@probe
def control_tmp():
    fill("/tmp", 1)


@probe
def control_socket():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(ARGUMENTS["socketdir"] + "/module.sock")


@probe
def control_child():
    subprocess.run(["true"], check=True)


def attempt(function):
    try:
        found = function()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno)), ""
    text = found.decode("latin1") if isinstance(found, bytes) else str(found or "")
    return "done", "".join(letter if " " <= letter <= "~" else " " for letter in text)


def separately(name, function):
    """Each in a process of its own, so that what it changes about itself does not help the next one."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receive)
            outcome, text = attempt(function)
            os.write(send, f"{name}\t{outcome}\t{text}\n".encode("latin1"))
        finally:
            os._exit(0)
    os.close(send)
    line = os.read(receive, 4096)
    os.close(receive)
    os.waitpid(child, 0)
    sys.stdout.write(line.decode("latin1") or f"{name}\tbroken\t\n")
    sys.stdout.flush()


for probe_name, probe_function in PROBES.items():
    separately(probe_name, probe_function)
