/**
 * Becomes the program under rules that hold for it and everything that it starts: no privileges, an allow-list of files
 * (Landlock), no TCP, no abstract sockets and no signals out of it where the kernel can, a filter of system calls. Node
 * cannot make system calls, so it is a program for Python's standard library. Descriptor 3 holds the rules as JSON,
 * descriptor 4 the filter (empty = none). Its last words begin with `landlock: `.
 *
 * @see landlock(7), landlock_create_ruleset(2), prctl(2), capset(2); linux/landlock.h
 */
export const LANDLOCK_LAUNCHER = `
import ctypes, json, os, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
CREATE, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CAPSET = {"x86_64": 126, "aarch64": 91}.get(os.uname().machine)

def check(what, answer):
    if answer < 0:
        raise OSError(ctypes.get_errno(), what + ": " + os.strerror(ctypes.get_errno()))
    return answer

def prctl(option, *arguments):
    padded = [ctypes.c_ulong(value) for value in arguments] + [ctypes.c_ulong(0)] * (4 - len(arguments))
    return libc.prctl(option, *padded)

def read_all(fd):
    with os.fdopen(fd, "rb") as stream:
        return stream.read()

def handled(abi):
    files = 0x1fff
    if abi >= 2: files |= 1 << 13
    if abi >= 3: files |= 1 << 14
    if abi >= 5: files |= 1 << 15
    network = 3 if abi >= 4 else 0
    scoped = 3 if abi >= 6 else 0
    return files, network, scoped

def restrict(rules):
    abi = check("Landlock", libc.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1)))
    files, network, scoped = handled(abi)
    attributes = struct.pack("=QQQ", files, network, scoped)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = check("ruleset", libc.syscall(CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint(0)))
    execute, write, read, read_dir = 1, 2, 4, 8
    of_files = execute | write | read | (files & (1 << 14 | 1 << 15))
    modes = {"read": execute | read | read_dir, "device": write | read | (files & 1 << 15), "write": files}
    for mode, paths in rules.items():
        for path, needed in paths:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError as error:
                if needed:
                    raise OSError(error.errno, path + ": " + error.strerror)
                continue
            access = modes[mode]
            if not os.path.isdir("/proc/self/fd/%d" % fd):
                access &= of_files
            rule = struct.pack("=Qi", access, fd)
            check(path, libc.syscall(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint(0)))
            os.close(fd)
    check("restriction", libc.syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)))
    os.close(ruleset)

def drop_privileges():
    # a bounding set can only be emptied by who may; without privileges there is none to gain, see no_new_privs
    for capability in range(64):
        if prctl(24, capability) < 0:
            break
    prctl(47, 4)
    if CAPSET is not None:
        check("capabilities", libc.syscall(CAPSET, struct.pack("=Ii", 0x20080522, 0), bytes(24)))
    check("no_new_privs", prctl(38, 1))

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

def filter_calls(program):
    if program:
        held = Program(len(program) // 8, program)
        check("filter", libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(held), ctypes.c_ulong(0), ctypes.c_ulong(0)))

try:
    plan, program = json.loads(read_all(3)), read_all(4)
    os.chdir(plan["cwd"])
    drop_privileges()
    restrict(plan["rules"])
    argv, env = plan["argv"], plan["env"]
    filter_calls(program)
    os.execve(argv[0], argv, env)
except OSError as error:
    sys.stderr.write("landlock: %s\\n" % error.strerror)
    sys.exit(126)
`;

/** Prints which version of Landlock the kernel has. */
export const LANDLOCK_VERSION = `
import ctypes
libc = ctypes.CDLL(None)
libc.syscall.restype = ctypes.c_long
print(libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint(1)))
`;
