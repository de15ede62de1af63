import { isUtf8 } from 'node:buffer';
import { type DescField, type DescMessage, type FileRegistry, ScalarType } from '@bufbuild/protobuf';
import { HostError } from './error.js';

/** Deepest nesting of messages in a message; the contract itself stays below ten. */
export const MAX_MESSAGE_DEPTH = 100;

/**
 * Most fields in a message, those of the messages inside counted with it, and every element of a packed list. Four MiB
 * of two-byte fields would keep the decoder, and with it the whole host, busy for a second and more; four MiB of hashes
 * of 32 bytes are fewer than this.
 */
export const MAX_MESSAGE_FIELDS = 131_072;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;
/** A varint of 64 bits takes ten bytes. */
const MAX_VARINT_BYTES = 10;

type FieldShape = { text: true } | { packed: number } | { message: MessageShape };
type MessageShape = Map<number, FieldShape>;
/** Fields that a message may still have. */
interface Budget {
  left: number;
}

/**
 * Checks the bytes of a request before they are decoded, because the generated decoders are lenient where an attacker
 * is the one who wrote the bytes: they stop silently at a tag of zero or a stray group end, and put U+FFFD for bytes
 * that are no UTF-8. Unknown fields of a newer caller pass.
 */
export interface StrictWire {
  /** @throws HostError MALFORMED_MESSAGE, MESSAGE_TOO_LARGE when it has more than MAX_MESSAGE_FIELDS fields */
  assertMessage(typeName: string, bytes: Uint8Array): void;
}

/** Makes the check for every message of the contract. */
export function createStrictWire(registry: FileRegistry): StrictWire {
  const shapes = new Map<string, MessageShape>();
  const shapeOf = (message: DescMessage): MessageShape => {
    const known = shapes.get(message.typeName);
    if (known !== undefined) return known;
    const shape: MessageShape = new Map();
    shapes.set(message.typeName, shape);
    for (const field of message.fields) {
      const inner = fieldShape(field, shapeOf);
      if (inner !== undefined) shape.set(field.number, inner);
    }
    return shape;
  };
  return {
    assertMessage(typeName, bytes) {
      const message = registry.getMessage(typeName);
      if (message === undefined) throw new Error(`the contract has no message ${typeName}`);
      check(bytes, 0, bytes.byteLength, shapeOf(message), 0, { left: MAX_MESSAGE_FIELDS });
    },
  };
}

function fieldShape(field: DescField, shapeOf: (message: DescMessage) => MessageShape): FieldShape | undefined {
  switch (field.fieldKind) {
    case 'message':
      return { message: shapeOf(field.message) };
    case 'list':
      if (field.listKind === 'message') return { message: shapeOf(field.message) };
      if (field.listKind === 'enum') return { packed: 0 };
      if (field.scalar === ScalarType.STRING) return { text: true };
      return field.scalar === ScalarType.BYTES ? undefined : { packed: fixedSize(field.scalar) };
    case 'map': {
      const entry: MessageShape = new Map();
      if (field.mapKey === ScalarType.STRING) entry.set(1, { text: true });
      if (field.mapKind === 'message') entry.set(2, { message: shapeOf(field.message) });
      if (field.mapKind === 'scalar' && field.scalar === ScalarType.STRING) entry.set(2, { text: true });
      return { message: entry };
    }
    case 'scalar':
      return field.scalar === ScalarType.STRING ? { text: true } : undefined;
    default:
      return undefined;
  }
}

/** Bytes of one element in a packed list; 0 = a varint, whose bytes tell. */
function fixedSize(scalar: ScalarType): number {
  switch (scalar) {
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 8;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return 4;
    default:
      return 0;
  }
}

function check(
  bytes: Uint8Array,
  start: number,
  end: number,
  shape: MessageShape,
  depth: number,
  budget: Budget,
): void {
  if (depth > MAX_MESSAGE_DEPTH) throw malformed(`messages nest deeper than ${MAX_MESSAGE_DEPTH}`);
  let at = start;
  while (at < end) {
    spend(budget, 1);
    const tag = readVarint(bytes, at, end);
    at = tag.next;
    const number = Math.floor(tag.value / 8);
    const wireType = tag.value % 8;
    if (number < 1 || number > 0x1fffffff) throw malformed(`field number ${number}`);
    if (wireType === VARINT) {
      at = readVarint(bytes, at, end).next;
    } else if (wireType === FIXED64) {
      at += 8;
    } else if (wireType === FIXED32) {
      at += 4;
    } else if (wireType === LENGTH) {
      const length = readVarint(bytes, at, end);
      const from = length.next;
      at = from + length.value;
      if (at > end) throw malformed(`field ${number} is longer than its message`);
      const field = shape.get(number);
      if (field === undefined) continue;
      if ('message' in field) check(bytes, from, at, field.message, depth + 1, budget);
      else if ('packed' in field) spend(budget, countPacked(bytes, from, at, field.packed));
      else if (!isUtf8(bytes.subarray(from, at))) throw malformed(`field ${number} is no UTF-8`);
    } else {
      // groups (3, 4) are not in proto3; 6 and 7 do not exist
      throw malformed(`wire type ${wireType}`);
    }
    if (at > end) throw malformed(`field ${number} is truncated`);
  }
}

function spend(budget: Budget, fields: number): void {
  budget.left -= fields;
  if (budget.left >= 0) return;
  throw new HostError('MESSAGE_TOO_LARGE', `a message has at most ${MAX_MESSAGE_FIELDS} fields and list elements`);
}

function countPacked(bytes: Uint8Array, from: number, to: number, size: number): number {
  if (size > 0) return Math.ceil((to - from) / size);
  let count = 0;
  // the last byte of a varint is the one without the high bit
  for (let i = from; i < to; i++) if ((bytes[i] ?? 0) < 0x80) count += 1;
  return count;
}

/** A varint as a double: exact up to 2^53, and larger ones are over every bound that they are compared with. */
function readVarint(bytes: Uint8Array, start: number, end: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    const byte = bytes[start + i];
    if (byte === undefined || start + i >= end) throw malformed('a number is truncated');
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, next: start + i + 1 };
    scale *= 128;
  }
  throw malformed('a number has more than 10 bytes');
}

function malformed(what: string): HostError {
  return new HostError('MALFORMED_MESSAGE', `the message cannot be decoded: ${what}`);
}
