import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** A small, fast generator whose whole run follows from its seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;
/** Deeper generated messages add nothing that shallow ones do not have. */
const MAX_DEPTH = 4;

/** Bytes of a random message that mostly follows its type, and sometimes breaks it. */
export function randomMessage(message: DescMessage, random: () => number, depth = 0): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of message.fields) {
    if (random() < 0.35) continue;
    const times = field.fieldKind === 'list' || field.fieldKind === 'map' ? Math.floor(random() * 4) : 1;
    for (let i = 0; i < times; i++) writeField(writer, field, random, depth);
  }
  return writer.finish();
}

/** The same bytes with random damage: flips, cuts, doublings, insertions. */
export function mutate(bytes: Uint8Array, random: () => number): Uint8Array {
  const damaged = Buffer.from(bytes);
  const at = Math.floor(random() * (damaged.length + 1));
  switch (Math.floor(random() * 5)) {
    case 0:
      if (damaged.length > 0) damaged[at % damaged.length] = Math.floor(random() * 256);
      return damaged;
    case 1:
      return damaged.subarray(0, at);
    case 2:
      return Buffer.concat([damaged, damaged.subarray(at)]);
    case 3:
      return Buffer.concat([
        damaged.subarray(0, at),
        randomBytes(random, 1 + Math.floor(random() * 16)),
        damaged.subarray(at),
      ]);
    default:
      return randomBytes(random, Math.floor(random() * 200));
  }
}

export function randomBytes(random: () => number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = Math.floor(random() * 256);
  return bytes;
}

function writeField(writer: BinaryWriter, field: DescField, random: () => number, depth: number): void {
  const inner = field.message;
  if (field.fieldKind === 'map') return;
  if (inner !== undefined) {
    if (depth >= MAX_DEPTH) return;
    writer.tag(field.number, LENGTH).bytes(randomMessage(inner, random, depth + 1));
    return;
  }
  const scalar = field.fieldKind === 'enum' || field.enum !== undefined ? ScalarType.INT32 : field.scalar;
  switch (scalar) {
    case ScalarType.STRING:
      writer.tag(field.number, LENGTH).string(randomText(random));
      return;
    case ScalarType.BYTES:
      writer.tag(field.number, LENGTH).bytes(randomBytes(random, random() < 0.6 ? 32 : Math.floor(random() * 120)));
      return;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
      writer.tag(field.number, FIXED64).double(random() < 0.1 ? Number.NaN : random() * 1e9);
      return;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
      writer.tag(field.number, FIXED32).float(random());
      return;
    default:
      writer.tag(field.number, VARINT).uint64(randomNumber(random));
  }
}

function randomText(random: () => number): string {
  const words = ['', 'probe', 'a'.repeat(70), '../../etc/passwd', '127.0.0.1:8333', 'x.y', '\u202e\u0000', 'é'];
  return words[Math.floor(random() * words.length)] ?? '';
}

function randomNumber(random: () => number): bigint {
  const edge = random();
  if (edge < 0.6) return BigInt(Math.floor(random() * 200));
  if (edge < 0.8) return BigInt(Math.floor(random() * 2 ** 32));
  return edge < 0.9 ? 2n ** 64n - 1n : 2n ** 53n;
}
