/** One instruction of classic BPF, `struct sock_filter` of linux/filter.h. */
export interface Instruction {
  readonly code: number;
  /** Instructions to skip when the comparison holds, and when it does not. */
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** Instructions in which every way ends in a verdict: nothing runs past its end, so blocks can be put side by side. */
export type Block = readonly Instruction[];

/** Instructions that one program may have; the kernel refuses more (BPF_MAXINSNS). */
export const MAX_INSTRUCTIONS = 4096;
/** Jumps are counted in one byte. */
export const MAX_JUMP = 255;

const INSTRUCTION_BYTES = 8;

/** Load a 32-bit word of `struct seccomp_data` (BPF_LD | BPF_W | BPF_ABS). */
const LOAD = 0x20;
const RETURN = 0x06;
/** Comparisons of the loaded word with a constant, unsigned (BPF_JMP | ... | BPF_K). */
export const TEST = { equal: 0x15, atLeast: 0x35, anyBit: 0x45 } as const;
/** Loaded word AND constant (BPF_ALU | BPF_AND | BPF_K). */
const AND = 0x54;

/** Where `struct seccomp_data` of linux/seccomp.h keeps what a filter decides by, bytes. */
export const FIELD = { number: 0, architecture: 4 } as const;

/**
 * Offset of the low half of an argument, on a little-endian machine. The arguments that we look at are 32 bits wide in
 * the kernel too, which drops the high half: comparing it would open a way round (CVE-2019-10063).
 */
export const lowHalfOf = (argument: number): number => 16 + 8 * argument;

/** Ends the program with a verdict (SECCOMP_RET_*). */
export const verdict = (value: number): Block => [{ code: RETURN, jt: 0, jf: 0, k: value }];

/** Loads a word, keeps the masked bits, and goes on. */
export function load(offset: number, then: Block, mask = 0xffff_ffff): Block {
  const fetch = { code: LOAD, jt: 0, jf: 0, k: offset };
  return mask === 0xffff_ffff ? [fetch, ...then] : [fetch, { code: AND, jt: 0, jf: 0, k: mask }, ...then];
}

/** Compares the loaded word. What runs when the comparison fails stands first, so its length is the jump: keep it short. */
export function when(test: number, k: number, holds: Block, fails: Block): Block {
  return [{ code: test, jt: fails.length, jf: 0, k }, ...fails, ...holds];
}

/**
 * The program as the kernel reads it: little-endian, which every machine is that Node runs our architectures on.
 *
 * @throws RangeError when a jump or the program is longer than the kernel can express: a mistake in this program
 */
export function assemble(program: Block): Uint8Array {
  if (program.length > MAX_INSTRUCTIONS) throw new RangeError(`${program.length} instructions are too many`);
  const bytes = new DataView(new ArrayBuffer(program.length * INSTRUCTION_BYTES));
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    if (jt > MAX_JUMP || jf > MAX_JUMP) throw new RangeError(`instruction ${index} would jump ${Math.max(jt, jf)}`);
    const at = index * INSTRUCTION_BYTES;
    bytes.setUint16(at, code, true);
    bytes.setUint8(at + 2, jt);
    bytes.setUint8(at + 3, jf);
    bytes.setUint32(at + 4, k, true);
  }
  return new Uint8Array(bytes.buffer);
}
