/**
 * What the canary does inside the sandbox: all that a module must not be able to do, and the little that it must. Each act
 * prints one line, `GUARANTEE <tab> ACT <tab> held|broken`; an act that is held back held the guarantee. The programs need
 * nothing of the machine but a POSIX shell, its usual companions and the Node that runs the host.
 */

/** What stands behind a program's name on the command line of every act. */
export interface ActPlaces {
  /** A file that every user may read, outside of the module's directories. */
  readonly secret: string;
  /** Directory of a module beside the canary, with a file and a socket in it. */
  readonly neighbour: string;
  /** The canary's own directories, as it sees them. */
  readonly code: string;
  readonly data: string;
  readonly socket: string;
}

/** What the shell compares with, as the host sees it of itself. */
export interface HostTraits {
  readonly pid: number;
  /** Start time of the host, ticks: tells it from a process of the same number in another namespace. */
  readonly startTicks: string;
  readonly networkNamespace: string;
  readonly pidNamespace: string;
  /** Filters of system calls that the host itself runs under, in a container for example. */
  readonly filters: number;
}

/** Arguments of `SHELL_ACTS`, in its order. */
export function shellArguments(
  places: ActPlaces,
  host: HostTraits,
  openFiles: number,
  claimed: Iterable<string>,
): string[] {
  const { secret, neighbour, code, data, socket } = places;
  const { pid, startTicks, networkNamespace, pidNamespace, filters } = host;
  return [
    ...[secret, neighbour, code, data, socket],
    ...[String(pid), startTicks, networkNamespace, pidNamespace, String(filters), String(openFiles)],
    [...claimed].join(' '),
  ];
}

/**
 * Files, processes, privileges, system calls, limits: what a shell can try, of those guarantees alone that are claimed. It
 * undoes at once what it should not have been able to do: where nothing confines it, it runs on somebody's machine.
 */
export const SHELL_ACTS = `
secret=$1 neighbour=$2 code=$3 data=$4 socket=$5 host=$6 ticks=$7 netns=$8 pidns=$9
shift 9
filters=$1 files=$2 claimed=" $3 "
asked() { case "$claimed" in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
no() { asked "$1" || return 0; g=$1 a=$2; shift 2; if "$@" >/dev/null 2>&1; then r=broken; else r=held; fi; printf '%s\\t%s\\t%s\\n' "$g" "$a" "$r"; }
yes() { asked "$1" || return 0; g=$1 a=$2; shift 2; if "$@" >/dev/null 2>&1; then r=held; else r=broken; fi; printf '%s\\t%s\\t%s\\n' "$g" "$a" "$r"; }
put() { ( : > "$1/modhost-canary" ) 2>/dev/null || return 1; [ "$1" = "$data" ] || rm -f "$1/modhost-canary"; }
has() { grep -q "$1" /proc/$$/status; }
number() { sed -n "s/^$1:[^0-9]*\\([0-9]*\\)$/\\1/p" /proc/$$/status; }
filtered() { [ "$(number Seccomp_filters)" -gt "$filters" ]; }
host_seen() { grep -q " $ticks " "/proc/$host/stat"; }
mounted() { mount -t tmpfs none "$socket" && umount "$socket"; }
crowd() { set -- /proc/[0-9]*; [ $# -ge 16 ]; }
only_lo() { [ "$(grep -c : /proc/net/dev)" = 1 ]; }
bounded() { grep -q "^Max open files  *$files  *$files " /proc/$$/limits; }

put "$data"
yes filesystem 'write its own data' [ -e "$data/modhost-canary" ]
no filesystem 'read a planted secret' cat "$secret"
no filesystem 'read it by a path of dots' cat "$data/../../../../../../../../..$secret"
no filesystem 'read it by a link' cat "$data/link"
no filesystem 'read it through the first process' cat "/proc/1/root$secret"
no filesystem 'list the data of a neighbour' ls "$neighbour"
no filesystem 'read the data of a neighbour' cat "$neighbour/file"
for dir in / /usr /etc "$neighbour" "$code" "$socket"; do no filesystem "write to $dir" put "$dir"; done
no processes 'see the host' host_seen
no processes 'list the processes of the machine' crowd
if [ "$(readlink /proc/$$/ns/pid)" = "$pidns" ]; then no processes 'signal the host' kill -0 "$host"; fi
if [ "$(readlink /proc/$$/ns/net)" != "$netns" ]; then yes network 'have no device but its own loopback' only_lo; fi
yes privileges 'be unable to gain any' has '^NoNewPrivs:[^0-9]*1$'
for set in CapInh CapPrm CapEff CapAmb; do yes privileges "have none ($set)" has "^$set:[^0-9a-f]*0*$"; done
no privileges 'make a user namespace' unshare --user true
no privileges 'make a network namespace' unshare --user --net true
no privileges 'mount' mounted
yes syscalls 'run under a filter of its own' filtered
no syscalls 'change its personality' setarch "$(uname -m)" -R true
yes open_files 'have the limit' bounded
`;

/** Arguments of `NODE_ACTS`: one JSON document. */
export interface NodeActPlan {
  /** Port of a TCP listener of the host, on 127.0.0.1. */
  readonly tcpPort: number;
  readonly udpPort: number;
  /** Name of a listener in the abstract name space, without the NUL. */
  readonly abstractName: string;
  /** Sockets of others: a neighbour's, and those that are open to every user of the machine. */
  readonly paths: readonly string[];
  readonly openFiles: number;
}

/** Connections and open files: what needs a program that can open sockets. */
export const NODE_ACTS = `
const fs = require('node:fs'), net = require('node:net'), os = require('node:os');
const plan = JSON.parse(process.argv[2]);
const say = (name, act, held) => fs.writeSync(1, name + '\\t' + act + '\\t' + (held ? 'held' : 'broken') + '\\n');
const refused = (options) => new Promise((resolve) => {
  try {
    const socket = net.connect(options, () => { socket.destroy(); resolve(false); });
    socket.on('error', () => resolve(true));
    socket.setTimeout(1000, () => { socket.destroy(); resolve(true); });
  } catch { resolve(true); }
});
const send = () => new Promise((resolve) => {
  try {
    const socket = require('node:dgram').createSocket('udp4');
    socket.on('error', resolve);
    socket.send('canary', plan.udpPort, '127.0.0.1', () => { try { socket.close(); } catch {} resolve(); });
  } catch { resolve(); }
});
(async () => {
  say('network', 'connect to a listener of the host', await refused({ host: '127.0.0.1', port: plan.tcpPort }));
  say('network', 'connect to an abstract socket', await refused({ path: '\\0' + plan.abstractName }));
  for (const path of plan.paths) say('network', 'connect to ' + path, await refused({ path }));
  await send();
  let interfaces = 0;
  try { interfaces = Object.keys(os.networkInterfaces()).length; } catch {}
  say('syscalls', 'ask the kernel for devices by netlink', interfaces === 0);
  const open = [];
  try { while (open.length <= plan.openFiles) open.push(fs.openSync('/dev/null')); } catch {}
  say('open_files', 'open more than the limit', open.length < plan.openFiles);
  process.exit(0);
})();
`;

/** Processes and memory past their limits; `$1` processes are tried, then `$2` bytes. What it says is not believed: the host counts. */
export const HOG_ACTS = `
(
  i=0
  while [ $i -lt "$1" ]; do
    sleep 0.3 >/dev/null 2>&1 &
    i=$((i+1))
    echo "$i"
  done
  echo all
)
exec dd if=/dev/zero of=/dev/null bs="$2" count=1
`;

/** Processor time past its limit, `$1` seconds of one core. */
export const SPIN_ACTS = `
exec timeout "$1" sh -c 'while :; do :; done'
`;

/**
 * Runs on, and leaves a process of another session behind, until both end with the host: `up` says that it runs, what
 * lives longer than the host writes `survived`.
 */
export const LINGER_ACTS = `
setsid sh -c 'sleep 1.5; : > "$0/survived"' "$1" &
: > "$1/up"
sleep 1.5
: > "$1/survived"
`;

/** Variable by which a chain that is the child of a dying host knows its parent. */
export const PARENT_VARIABLE = 'MODHOST_CANARY_PARENT';

/**
 * Stands in for a host that is killed: starts the chain that follows as its child, and kills itself as soon as the file
 * `$1` says that the program runs.
 */
export const DYING_HOST = `
up=$1
shift
export ${PARENT_VARIABLE}=$$
"$@" &
n=0
while [ ! -e "$up" ] && [ "$n" -lt 250 ] && [ -d "/proc/$PPID" ]; do sleep 0.02; n=$((n+1)); done
kill -9 $$
`;
