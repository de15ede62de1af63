import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { HASH_BYTES, hashToDisplay, toHex } from '../core/bytes.js';
import type { ContractRegistry } from './descriptors.js';

/** A value that JSON can hold. */
export type PlainValue = string | number | boolean | null | PlainValue[] | { [key: string]: PlainValue };

/** A message as people and their scripts read it. */
export type PlainObject = { [key: string]: PlainValue };

/** The words of the contract: messages as plain JSON, enums by their names. */
export interface ContractWords {
  /**
   * A message with the names of the contract: keys in snake_case, enums by name without prefix, 64-bit numbers as numbers
   * where they are exact and as strings beyond, hashes in display order, other bytes as hex. What is absent is left out.
   *
   * @param type full name, for example `modhost.admin.v1.ModuleStatus`
   */
  plain(type: string, message: object): PlainObject;
  /** Name of an enum's number without prefix; the number itself when this version does not know it. */
  enumName(type: string, number: number): string;
  /** Number of a name without prefix, or undefined. */
  enumNumber(type: string, name: string): number | undefined;
  /** All names of an enum without prefix, UNSPECIFIED left out. */
  enumNames(type: string): string[];
}

/** Fields that hold hashes and do not end in `hash` or `txid`. */
const HASH_FIELDS: ReadonlySet<string> = new Set([
  ...['merkle_root', 'disconnected', 'connected', 'old_tip', 'new_tip', 'walk_from', 'chain_cursor'],
]);

/** Reads the words from the descriptor set. */
export function createContractWords(registry: ContractRegistry): ContractWords {
  const valuesOf = (type: string): { name: string; number: number }[] => {
    const found = registry.getEnum(type);
    if (found === undefined) throw new Error(`the contract has no enum ${type}`);
    return found.values.map(({ name, number }) => ({ name: name.slice((found.sharedPrefix ?? '').length), number }));
  };
  const shortName = (values: readonly { name: string; number: number }[], number: number): string =>
    values.find((value) => value.number === number)?.name.toUpperCase() ?? String(number);
  const enumName = (type: string, number: number): string => shortName(valuesOf(type), number);

  const single = (field: DescField, value: unknown): PlainValue => {
    if (field.enum !== undefined) return enumName(field.enum.typeName, Number(value));
    if (field.message !== undefined) return ofMessage(field.message, value as Record<string, unknown>);
    if (typeof value === 'bigint') {
      return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER)
        ? Number(value)
        : value.toString();
    }
    if (value instanceof Uint8Array) return isHash(field.name, value) ? hashToDisplay(value) : toHex(value);
    return value as PlainValue;
  };
  const ofMessage = (type: DescMessage, message: Readonly<Record<string, unknown>>): PlainObject => {
    const plain: PlainObject = {};
    for (const field of type.fields) {
      const value = fieldValue(field, message);
      if (value === undefined || value === null) continue;
      plain[field.name] = Array.isArray(value) ? value.map((item) => single(field, item)) : single(field, value);
    }
    return plain;
  };

  return {
    plain(type, message) {
      const found = registry.getMessage(type);
      if (found === undefined) throw new Error(`the contract has no message ${type}`);
      return ofMessage(found, message as Readonly<Record<string, unknown>>);
    },
    enumName,
    enumNumber: (type, name) => valuesOf(type).find((value) => value.name.toUpperCase() === name)?.number,
    enumNames: (type) =>
      valuesOf(type)
        .filter(({ number }) => number !== 0)
        .map(({ name }) => name.toUpperCase()),
  };
}

/** The value of a field in generated code, where a oneof is one property that names its case. */
function fieldValue(field: DescField, message: Readonly<Record<string, unknown>>): unknown {
  if (field.oneof === undefined) return message[field.localName];
  const chosen = message[field.oneof.localName] as { $case: string; value: unknown } | undefined;
  return chosen?.$case === field.localName ? chosen.value : undefined;
}

function isHash(name: string, bytes: Uint8Array): boolean {
  return bytes.length === HASH_BYTES && (HASH_FIELDS.has(name) || /(?:^|_)(?:hash|hashes|w?txid|w?txids)$/.test(name));
}
