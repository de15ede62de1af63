import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemdUnit } from '../../../src/cli/systemd-unit.js';
import {
  assemble,
  type Block,
  FIELD,
  load,
  lowHalfOf,
  TEST,
  verdict,
  when,
} from '../../../src/sandbox/seccomp/assemble.js';
import { X64 } from '../../../src/sandbox/seccomp/x64.js';

const FOLDER = import.meta.dirname;
/** Numbers of socket(2)'s families, by the names that units use. */
const FAMILIES: Readonly<Record<string, number>> = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10, AF_NETLINK: 16 };
const ALLOW = verdict(0x7fff_0000);
const KILL = verdict(0x8000_0000);
const EPERM = verdict(0x0005_0001);
const EAFNOSUPPORT = verdict(0x0005_0061);
/** SCHED_OTHER, SCHED_BATCH and SCHED_IDLE: all that RestrictRealtime leaves. */
const ORDINARY_SCHEDULING = [0, 3, 5];

/**
 * Runs a program of this repository as the unit of `modhost unit` would run it: the directives are read from the unit's own
 * text, the kernel is asked for the same things that systemd asks it for. Only for root on x86-64.
 *
 * @param writable the one directory that stays writable, as /var/lib/modhost does
 */
export async function runAsUnit(
  program: string,
  args: readonly string[],
  writable: string,
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const unit = systemdUnit({
    node: process.execPath,
    main: '/main.js',
    config: '/modhost.toml',
    runAs: { kind: 'root' },
    writable: [],
  });
  const directive = (name: string): string => {
    const value = new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1];
    if (value === undefined) throw new Error(`the unit says nothing of ${name}`);
    return value;
  };
  for (const name of ['NoNewPrivileges', 'PrivateTmp', 'ProtectClock', 'LockPersonality', 'RestrictRealtime']) {
    if (directive(name) !== 'yes') throw new Error(`the unit no longer says ${name}=yes`);
  }
  const work = await mkdtemp(join(writable, 'unit-'));
  try {
    const filter = join(work, 'filter');
    await writeFile(filter, unitFilter(directive('RestrictAddressFamilies').split(' ')));
    const { stdout } = await promisify(execFile)(
      'unshare',
      [
        ...['--mount', '--propagation', 'private', '--', '/usr/bin/python3', join(FOLDER, 'unit-restrictions.py')],
        ...[filter, writable, directive('CapabilityBoundingSet').replaceAll(' ', ','), '--'],
        ...[process.execPath, '--import', 'tsx', program, ...args],
      ],
      { env: { PATH: process.env.PATH, TSX_DISABLE_CACHE: '1', ...env }, maxBuffer: 16 * 1024 * 1024 },
    );
    return stdout;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Numbers of the calls that the unit's directives look at, x86-64: arch/x86/entry/syscalls/syscall_64.tbl. */
const NUMBERS: Readonly<Record<string, number>> = {
  socket: 41,
  personality: 135,
  sched_setscheduler: 144,
  adjtimex: 159,
  settimeofday: 164,
  clock_settime: 227,
  clock_adjtime: 305,
};

/** SystemCallArchitectures, RestrictAddressFamilies, ProtectClock, LockPersonality, RestrictRealtime as one filter. */
function unitFilter(families: readonly string[]): Uint8Array {
  const isOneOf = (argument: number, allowed: readonly number[], otherwise: Block): Block =>
    load(
      lowHalfOf(argument),
      allowed.reduceRight<Block>((rest, value) => when(TEST.equal, value, ALLOW, rest), otherwise),
    );
  const answers: Readonly<Record<string, Block>> = {
    socket: isOneOf(
      0,
      families.map((name) => FAMILIES[name] ?? -1),
      EAFNOSUPPORT,
    ),
    personality: isOneOf(0, [0, 0xffff_ffff], EPERM),
    sched_setscheduler: isOneOf(1, ORDINARY_SCHEDULING, EPERM),
    clock_settime: EPERM,
    settimeofday: EPERM,
    adjtimex: EPERM,
    clock_adjtime: EPERM,
  };
  const byNumber = Object.entries(answers).reduceRight<Block>((rest, [name, answer]) => {
    const number = NUMBERS[name] ?? -1;
    // what runs when the comparison fails is the jump: the rest of the calls, which is short
    return when(TEST.equal, number, answer, rest);
  }, ALLOW);
  return assemble(load(FIELD.architecture, when(TEST.equal, X64.audit, load(FIELD.number, byNumber), KILL)));
}
