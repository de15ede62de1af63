/** One system call as a filter sees it (`struct seccomp_data`). */
export interface Call {
  readonly architecture: number;
  readonly number: number;
  readonly args?: readonly bigint[];
}

/**
 * An interpreter of classic BPF, for tests: a double of the kernel's, with those instructions that a seccomp filter may
 * hold and that ours uses. It runs filters for architectures that this machine is not; what the kernel itself says is
 * tried beside it.
 *
 * @returns the verdict, SECCOMP_RET_*
 * @throws  Error when the program runs past its end, uses another instruction, or reads outside of the call
 */
export function interpret(program: Uint8Array, { architecture, number, args = [] }: Call): number {
  const call = new DataView(new ArrayBuffer(64));
  call.setUint32(0, number, true);
  call.setUint32(4, architecture, true);
  for (const [index, value] of args.entries()) call.setBigUint64(16 + 8 * index, BigInt.asUintN(64, value), true);
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let loaded = 0;
  for (let pc = 0; pc * 8 < program.byteLength; pc++) {
    const k = code.getUint32(pc * 8 + 4, true);
    const jump = (holds: boolean): void => {
      pc += code.getUint8(pc * 8 + (holds ? 2 : 3));
    };
    const operation = code.getUint16(pc * 8, true);
    if (operation === 0x06) return k;
    else if (operation === 0x20) loaded = call.getUint32(k, true);
    else if (operation === 0x54) loaded = (loaded & k) >>> 0;
    else if (operation === 0x15) jump(loaded === k);
    else if (operation === 0x35) jump(loaded >= k);
    else if (operation === 0x45) jump((loaded & k) !== 0);
    else throw new Error(`instruction ${pc} is ${operation.toString(16)}`);
  }
  throw new Error('the program has no end');
}
