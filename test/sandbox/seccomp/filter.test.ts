import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Architecture } from '../../../src/sandbox/seccomp/architecture.js';
import { ARM64 } from '../../../src/sandbox/seccomp/arm64.js';
import { assemble, MAX_INSTRUCTIONS, verdict, when } from '../../../src/sandbox/seccomp/assemble.js';
import { seccompFilter } from '../../../src/sandbox/seccomp/filter.js';
import { ABSENT, REFUSED } from '../../../src/sandbox/seccomp/refused.js';
import { NEWEST } from '../../../src/sandbox/seccomp/shared-numbers.js';
import { X64 } from '../../../src/sandbox/seccomp/x64.js';
import { requireToolchain } from '../../toolchain.js';
import { type Call, interpret } from './interpreter.js';

const ARCHITECTURES: readonly (readonly [string, Architecture])[] = [
  ['x64', X64],
  ['arm64', ARM64],
];
/** linux/audit.h. */
const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 };
const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const EPROTONOSUPPORT = 0x0005005d;
const ESOCKTNOSUPPORT = 0x0005005e;
const EAFNOSUPPORT = 0x00050061;
/** Garbage in the upper half of a register, which the kernel drops before it looks at a 32-bit argument. */
const HIGH = 0xdead_beefn << 32n;

const verdictOf = (arch: string, call: Call, network = false): number =>
  interpret(seccompFilter(arch, { network }) ?? new Uint8Array(), call);

describe.each(ARCHITECTURES)('the filter for %s, on the interpreter', (arch, { audit, numbers, gaps }) => {
  const call = (name: string | number, args: readonly bigint[] = [], network = false): number => {
    const number = typeof name === 'number' ? name : numbers.get(name);
    if (number === undefined) throw new Error(`no number for ${name}`);
    return verdictOf(arch, { architecture: audit, number, args }, network);
  };

  test('the calls of other architectures end the process, whatever their number', () => {
    for (const [name, architecture] of Object.entries({ ...AUDIT, none: 0, other: 0xffffffff })) {
      for (const number of [0, 41, 198, 5000, 0xffffffff]) {
        const answer = verdictOf(arch, { architecture, number, args: [1n] });
        if (name === arch) expect(answer, `${name} ${number}`).not.toBe(KILL);
        else expect(answer, `${name} ${number}`).toBe(KILL);
      }
    }
    expect(AUDIT[arch as 'x64']).toBe(audit);
  });

  test('every number has the answer that the tables say, with and without network', () => {
    const decided = ['clone', 'ioctl', 'personality', 'socket', 'socketpair'];
    const refused = new Set(REFUSED.flatMap((name) => numbers.get(name) ?? []));
    const absent = new Set(ABSENT.map((name) => numbers.get(name)));
    const byArguments = new Set(decided.map((name) => numbers.get(name)));
    for (let number = 0; number <= NEWEST; number++) {
      if (byArguments.has(number)) continue;
      const isGap = gaps.some(([first, last]) => number >= first && number <= last);
      const expected = isGap || absent.has(number) ? ENOSYS : refused.has(number) ? EPERM : ALLOW;
      for (const network of [false, true]) expect(call(number, [], network), `${number}`).toBe(expected);
    }
    expect([...numbers.keys()].filter((name) => !REFUSED.includes(name)).sort()).toEqual(
      [...decided, ...ABSENT].sort(),
    );
  });

  test('numbers beyond the newest known do not exist: later kernels, x32, the old x32 range, negative ones', () => {
    for (const number of [NEWEST + 1, 500, 512, 520, 547, 1000, 0x40000000, 0x40000029, 0x7fffffff, 0xffffffff]) {
      expect(call(number, [1n]), `${number}`).toBe(ENOSYS);
    }
  });

  test('clone makes processes and threads, and no namespace', () => {
    const THREAD = 0x3d0f00n;
    for (const flags of [17n, 0n, THREAD, 0x4111n]) expect(call('clone', [flags])).toBe(ALLOW);
    for (const flag of [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n]) {
      for (const flags of [flag, flag | 17n, flag | THREAD, flag | HIGH])
        expect(call('clone', [flags]), `${flags}`).toBe(EPERM);
    }
  });

  test('ioctl: typing into a terminal is refused however the register is filled', () => {
    for (const request of [0x5412n, 0x541cn, 0x5423n]) {
      expect(call('ioctl', [0n, request])).toBe(EPERM);
      expect(call('ioctl', [0n, request | HIGH])).toBe(EPERM);
    }
    for (const request of [0x5401n, 0x5413n, 0x541bn, 0x5421n, 0x5451n])
      expect(call('ioctl', [0n, request])).toBe(ALLOW);
  });

  test('personality: asking and the ordinary one', () => {
    for (const value of [0n, 0xffffffffn, HIGH]) expect(call('personality', [value])).toBe(ALLOW);
    for (const value of [0x40000n, 8n, 0x400000n, HIGH | 0x40000n]) expect(call('personality', [value])).toBe(EPERM);
  });

  test('sockets: local ones always, IP only with network, all else never', () => {
    for (const network of [false, true]) {
      for (const args of [
        [1n, 1n, 0n],
        [1n, 0x80801n, 0n],
        [HIGH | 1n, 2n, 0n],
      ]) {
        expect(call('socket', args, network)).toBe(ALLOW);
        expect(call('socketpair', args, network)).toBe(ALLOW);
      }
      // Bluetooth, packet, vsock, crypto, X.25, TIPC, Kernel Connection Multiplexor, unspecified, XDP.
      for (const family of [31n, 17n, 40n, 38n, 9n, 30n, 41n, 0n, 44n, HIGH | 17n, 0xffffffffn]) {
        expect(call('socket', [family, 1n, 0n], network)).toBe(EAFNOSUPPORT);
      }
      for (const family of [2n, 10n, 16n, 30n])
        expect(call('socketpair', [family, 1n, 0n], network)).toBe(EAFNOSUPPORT);
    }
    for (const family of [2n, 10n, HIGH | 2n]) {
      expect(call('socket', [family, 1n, 6n])).toBe(EAFNOSUPPORT);
      for (const args of [
        [1n, 0n],
        [0x80801n, 6n],
        [2n, 0n],
        [0x80002n, 17n],
      ]) {
        expect(call('socket', [family, ...args], true)).toBe(ALLOW);
      }
      // Raw, SCTP's packets, packet sockets of old; then ICMP, SCTP, DCCP, MPTCP, L2TP.
      for (const type of [3n, 5n, 10n, 0x80003n, 4n]) {
        expect(call('socket', [family, type, 0n], true)).toBe(ESOCKTNOSUPPORT);
      }
      for (const protocol of [1n, 132n, 33n, 262n, 115n, 255n]) {
        expect(call('socket', [family, 2n, protocol], true)).toBe(EPROTONOSUPPORT);
      }
    }
    expect(call('socket', [16n, 0x80003n, 0n])).toBe(EAFNOSUPPORT);
    expect(call('socket', [16n, 0x80003n, 0n], true)).toBe(ALLOW);
    // Firewall, audit, udev, generic netlink.
    for (const protocol of [12n, 9n, 15n, 16n]) expect(call('socket', [16n, 3n, protocol], true)).toBe(EPROTONOSUPPORT);
  });

  test('the program is as small as the kernel and one-byte jumps want it', () => {
    for (const network of [false, true]) {
      const program = seccompFilter(arch, { network }) ?? new Uint8Array();
      const count = program.length / 8;
      expect(Number.isInteger(count) && count <= MAX_INSTRUCTIONS).toBe(true);
      for (let index = 0; index < count; index++) {
        const isJump = ((program[index * 8] ?? 0) & 7) === 5;
        const [jt = 0, jf = 0] = program.slice(index * 8 + 2, index * 8 + 4);
        if (isJump) expect(index + 1 + Math.max(jt, jf), `${index}`).toBeLessThan(count);
        else expect([jt, jf]).toEqual([0, 0]);
      }
      // The last instruction is a verdict, so nothing can run past the end.
      expect(program[program.length - 8]).toBe(0x06);
    }
  });

  test('every refused name that the architecture ever had has a number of its own', () => {
    expect(new Set(numbers.values()).size).toBe(numbers.size);
    const absent = REFUSED.filter((name) => !numbers.has(name));
    // Calls of x86 alone, or gone before 64-bit ARM came.
    const neverOnArm = ['sysfs', 'ustat', 'modify_ldt', 'iopl', 'ioperm', 'uselib', 'create_module', 'get_kernel_syms'];
    expect(absent).toEqual(arch === 'x64' ? [] : [...neverOnArm, 'query_module', '_sysctl', 'vserver']);
  });
});

test('an architecture without a table has no filter', () => {
  for (const arch of ['ia32', 'arm', 'riscv64', 's390x', 'ppc64', '', 'constructor'])
    expect(seccompFilter(arch, { network: false })).toBeUndefined();
});

test('a jump that does not fit into its byte is never written', () => {
  const long = Array.from({ length: 256 }, () => verdict(0)[0] ?? { code: 0, jt: 0, jf: 0, k: 0 });
  expect(() => assemble(when(0x15, 0, verdict(0), long))).toThrow(RangeError);
  expect(() => assemble(when(0x15, 0, verdict(0), long.slice(1)))).not.toThrow();
});

const HEADERS: readonly (readonly [string, Architecture, string])[] = [
  ['x64', X64, '/usr/include/x86_64-linux-gnu/asm/unistd_64.h'],
  ['arm64', ARM64, '/usr/include/asm-generic/unistd.h'],
];
test.each(HEADERS)("the numbers for %s are those of the kernel's own header", (arch, { numbers, gaps }, path) => {
  const presence = existsSync(path)
    ? { available: true as const }
    : { available: false as const, reason: `${path} is not there (apt install linux-libc-dev)` };
  // Another processor's headers are nobody's to install: the generic ones come everywhere.
  if (!presence.available && arch === 'x64' && process.arch !== 'x64') return;
  if (requireToolchain("the kernel's headers", presence).skip) return;
  const defined = new Map(
    [...readFileSync(path, 'latin1').matchAll(/^#define __NR(?:3264)?_(\w+)\s+([0-9]+)\s*$/gm)].map(
      ([, name = '', number]): [string, number] => [name, Number(number)],
    ),
  );
  const highest = Math.max(...[...defined].flatMap(([name, number]) => (name === 'syscalls' ? [] : [number])));
  expect(highest).toBeGreaterThan(440);
  for (const [name, number] of numbers) {
    // A header older than the call says nothing of it.
    if (number <= highest) expect(defined.get(name), name).toBe(number);
  }
  for (const [name, number] of defined) {
    const isGap = gaps.some(([first, last]) => number >= first && number <= last);
    // Where a range begins, what 32-bit machines call, and what the kernel's own trampolines call past any filter.
    if (isGap) expect(name).toMatch(/^arch_specific_syscall$|64$|^u(?:ret)?probe$/);
  }
});
