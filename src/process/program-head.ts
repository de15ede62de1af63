import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/** Bytes of a program that tell what it is: an ELF header with its program headers, or a script's first line. */
const HEAD_BYTES = 4096;
/** Longest path of a loader or interpreter, bytes (PATH_MAX). */
const MAX_PATH_BYTES = 4096;

/** `e_machine` of the ELF header by Node's name of the architecture (System V ABI, and its supplements). */
const ELF_MACHINES: ReadonlyMap<string, number> = new Map([
  ['x64', 62],
  ['arm64', 183],
  ['arm', 40],
  ['ia32', 3],
  ['riscv64', 243],
  ['ppc64', 21],
  ['s390x', 22],
  ['loong64', 258],
]);

/** `p_type` of the program header that names the loader. */
const PT_INTERP = 3;

/** What the first bytes of a program say of it. */
export type ProgramHead =
  | { readonly kind: 'script' /** Empty when the line names none. */; readonly interpreter: string }
  | {
      readonly kind: 'elf' /** Node's name, or undefined. */;
      readonly built: string;
      readonly loader: string | undefined;
    }
  | { readonly kind: 'foreign' /** What it seems to be. */; readonly what: string }
  | { readonly kind: 'unknown' };

/** Reads what a program is. The file is the module author's: nothing in it is believed but bounds. */
export async function readProgramHead(path: string): Promise<ProgramHead> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    };
    const head = await read(0, HEAD_BYTES);
    if (head.toString('latin1', 0, 2) === '#!') return { kind: 'script', interpreter: interpreterOf(head) };
    if (head.toString('latin1', 0, 4) === '\x7fELF' && head.length >= 20) {
      return { kind: 'elf', built: machineOf(head), loader: await loaderOf(head, read) };
    }
    const what = foreignKind(head);
    return what === undefined ? { kind: 'unknown' } : { kind: 'foreign', what };
  } finally {
    await file.close();
  }
}

/** True when this machine runs programs built for that; unknown machines are for the kernel to judge. */
export function isNative(built: string): boolean {
  return !ELF_MACHINES.has(process.arch) || built === process.arch;
}

/** The word after `#!` as the kernel reads it: it ends at white space, and a carriage return is none. */
function interpreterOf(head: Buffer): string {
  const line = head.toString('utf8', 2).split('\n')[0] ?? '';
  return line.replace(/^[ \t]+/, '').split(/[ \t]/)[0] ?? '';
}

function machineOf(head: Buffer): string {
  const machine = isBig(head) ? head.readUInt16BE(18) : head.readUInt16LE(18);
  return [...ELF_MACHINES].find(([, number]) => number === machine)?.[0] ?? `ELF machine ${machine}`;
}

const isBig = (head: Buffer): boolean => head[5] === 2;

/** Path of the dynamic loader, or undefined for a static program and for what is no sound ELF file. */
async function loaderOf(
  head: Buffer,
  read: (offset: number, length: number) => Promise<Buffer>,
): Promise<string | undefined> {
  const is64 = head[4] === 2;
  if (head.length < (is64 ? 64 : 52)) return undefined;
  const u16 = (at: number): number => (isBig(head) ? head.readUInt16BE(at) : head.readUInt16LE(at));
  const word = (bytes: Buffer, at: number): number => {
    if (!is64) return isBig(head) ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at);
    return Number(isBig(head) ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at));
  };
  const tableAt = word(head, is64 ? 32 : 28);
  const entryBytes = u16(is64 ? 54 : 42);
  const entries = u16(is64 ? 56 : 44);
  if (entryBytes < (is64 ? 56 : 32) || !Number.isSafeInteger(tableAt)) return undefined;
  const table = await read(tableAt, Math.min(entryBytes * entries, HEAD_BYTES));
  for (let at = 0; at + entryBytes <= table.length; at += entryBytes) {
    const type = isBig(head) ? table.readUInt32BE(at) : table.readUInt32LE(at);
    if (type !== PT_INTERP) continue;
    const offset = word(table, at + (is64 ? 8 : 4));
    const length = word(table, at + (is64 ? 32 : 16));
    if (!Number.isSafeInteger(offset) || length < 2 || length > MAX_PATH_BYTES) return undefined;
    return (await read(offset, length)).toString('utf8').split('\0')[0];
  }
  return undefined;
}

/** Programs of other systems, told by their first bytes. */
const FOREIGN: readonly (readonly [string, string])[] = [
  ['4d5a', 'a Windows program'],
  ['cffaedfe', 'a macOS program'],
  ['cafebabe', 'Java classes or a macOS program; for Java use [run] command'],
  ['504b0304', 'an archive; for a jar use [run] command = ["java", "-jar", …]'],
  ['0061736d', 'WebAssembly; use [run] command with a runtime for it'],
];

function foreignKind(head: Buffer): string | undefined {
  const start = head.toString('hex', 0, 4);
  return FOREIGN.find(([magic]) => start.startsWith(magic))?.[1];
}
