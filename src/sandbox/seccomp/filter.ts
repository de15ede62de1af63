import type { Architecture } from './architecture.js';
import { ARM64 } from './arm64.js';
import { assemble, type Block, FIELD, load, lowHalfOf, TEST, verdict, when } from './assemble.js';
import { ABSENT, REFUSED } from './refused.js';
import { X64 } from './x64.js';

/** Which network the module has, as far as the kernel's calls are concerned. */
export interface FilterOptions {
  /** True when the module has a network namespace in which something answers: IP sockets are allowed then. */
  readonly network: boolean;
}

/** Architectures by Node's names for them. */
const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([
  ['x64', X64],
  ['arm64', ARM64],
]);

const ERRNO = { EPERM: 1, ENOSYS: 38, EPROTONOSUPPORT: 93, ESOCKTNOSUPPORT: 94, EAFNOSUPPORT: 97 } as const;

const ALLOW = verdict(0x7fff_0000);
/** A call of another architecture than the program's own comes from an attack, not from a program. */
const KILL = verdict(0x8000_0000);
const fail = (name: keyof typeof ERRNO): Block => verdict(0x0005_0000 | ERRNO[name]);

/**
 * The program that the kernel runs before each system call of a module (bwrap's `--seccomp`): calls that it does not
 * know do not exist, calls that reach out of the sandbox are not permitted, sockets are of the families that the module
 * was granted.
 *
 * @param arch Node's `process.arch` of the machine that modules run on
 * @returns    array of `struct sock_filter`; undefined = we have no table for this architecture, which is to be reported
 * @see        seccomp(2), bwrap(1)
 */
export function seccompFilter(arch: string, options: FilterOptions): Uint8Array | undefined {
  const architecture = ARCHITECTURES.get(arch);
  return architecture === undefined ? undefined : assemble(filterProgram(architecture, options));
}

function filterProgram(architecture: Architecture, options: FilterOptions): Block {
  const byNumber = load(FIELD.number, search(runsOf(architecture, options)));
  return load(FIELD.architecture, when(TEST.equal, architecture.audit, byNumber, KILL));
}

/** Neighbouring numbers that are answered alike. */
interface Run {
  readonly first: number;
  readonly answer: Block;
}

function runsOf({ numbers, gaps, newest }: Architecture, options: FilterOptions): Run[] {
  const answers = new Map<number, Block>();
  const set = (name: string, answer: Block): void => {
    const number = numbers.get(name);
    if (number !== undefined) answers.set(number, answer);
  };
  const refusal = fail('EPERM');
  const absence = fail('ENOSYS');
  for (const [first, last] of gaps) for (let number = first; number <= last; number++) answers.set(number, absence);
  for (const name of REFUSED) set(name, refusal);
  for (const name of ABSENT) set(name, absence);
  set('clone', CLONE);
  set('ioctl', IOCTL);
  set('personality', PERSONALITY);
  set('socket', options.network ? SOCKET_WITH_NETWORK : SOCKET);
  set('socketpair', SOCKET);
  const runs: Run[] = [];
  for (let number = 0; number <= newest; number++) {
    const answer = answers.get(number) ?? ALLOW;
    if (runs.at(-1)?.answer !== answer) runs.push({ first: number, answer });
  }
  // Numbers are unsigned here: this is also the answer to x32 calls (2^30 and up) and to -1.
  return [...runs, { first: newest + 1, answer: absence }];
}

/** Finds the run of the loaded number by halving: seven comparisons instead of eighty on each call of a module. */
function search(runs: readonly Run[]): Block {
  const middle = runs.length >> 1;
  const [run] = runs;
  const pivot = runs[middle];
  if (run === undefined || pivot === undefined || middle === 0) return run?.answer ?? KILL;
  return when(TEST.atLeast, pivot.first, search(runs.slice(middle)), search(runs.slice(0, middle)));
}

/** All of CLONE_NEW* that clone(2) takes: namespaces are how one comes to privileges over something. */
const NAMESPACE_FLAGS = 0x7e02_0000;
const CLONE = load(lowHalfOf(0), when(TEST.anyBit, NAMESPACE_FLAGS, fail('EPERM'), ALLOW));

/** TIOCSTI types into a terminal, TIOCLINUX pastes into a console, TIOCSETD loads line disciplines into the kernel. */
const REFUSED_IOCTLS = [0x5412, 0x541c, 0x5423];
const IOCTL = load(lowHalfOf(1), oneOf(REFUSED_IOCTLS, fail('EPERM'), ALLOW));

/** The ordinary one and the question which one it is; the others switch protections off. */
const PERSONALITIES = [0, 0xffff_ffff];
const PERSONALITY = load(lowHalfOf(0), oneOf(PERSONALITIES, ALLOW, fail('EPERM')));

const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;
const SOCKET = load(lowHalfOf(0), when(TEST.equal, AF.UNIX, ALLOW, fail('EAFNOSUPPORT')));

/** SOCK_STREAM and SOCK_DGRAM; the bits above are SOCK_NONBLOCK and SOCK_CLOEXEC. */
const TYPES = [1, 2];
const TYPE_MASK = 0xf;
/** Whatever suits the type, TCP, UDP. Rarer protocols are rarely looked at, and would be loaded into the kernel. */
const PROTOCOLS = [0, 6, 17];
const NETLINK_ROUTE = 0;

const IP_SOCKET = load(
  lowHalfOf(1),
  oneOf(TYPES, load(lowHalfOf(2), oneOf(PROTOCOLS, ALLOW, fail('EPROTONOSUPPORT'))), fail('ESOCKTNOSUPPORT')),
  TYPE_MASK,
);
/** Go and the C library ask for the interfaces by netlink. */
const NETLINK_SOCKET = load(lowHalfOf(2), when(TEST.equal, NETLINK_ROUTE, ALLOW, fail('EPROTONOSUPPORT')));
const SOCKET_WITH_NETWORK = load(
  lowHalfOf(0),
  when(
    TEST.equal,
    AF.UNIX,
    ALLOW,
    when(TEST.equal, AF.NETLINK, NETLINK_SOCKET, oneOf([AF.INET, AF.INET6], IP_SOCKET, fail('EAFNOSUPPORT'))),
  ),
);

function oneOf(values: readonly number[], holds: Block, fails: Block): Block {
  return values.reduceRight((rest, value) => when(TEST.equal, value, holds, rest), fails);
}
