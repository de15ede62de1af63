import { HostError } from '../contract/error.js';
import type { EventFacts, EventPayload, PayloadField } from '../contract/event-type.js';
import { HASH_BYTES } from '../core/bytes.js';

/** Longest topic in a subscription or publication, bytes: a module's name of 64, a dot and 63 characters. */
export const MAX_TOPIC_BYTES = 128;
/** A compressed public key (SEC 1). */
const PUBLIC_KEY_BYTES = 33;
/** Longest name of a mesh destination, bytes. */
const MAX_DESTINATION_BYTES = 64;
const TOPIC = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*\.[a-z][a-z0-9._-]{0,62}$/;

/** True for `<module>.<topic>` as `Topic.topic` in the contract describes it. */
export function isTopic(text: string): boolean {
  return text.length <= MAX_TOPIC_BYTES && TOPIC.test(text);
}

/**
 * Holds a published payload to the rules that the comments of its fields give for all fields of a kind: hashes and keys
 * have their length, enums a value that the host knows, shares of a hundred lie between 0 and 100.
 *
 * @throws INVALID_REQUEST, UNKNOWN_ENUM
 */
export function assertPayload(facts: EventFacts, payload: EventPayload): void {
  const values = payload.value as unknown as Readonly<Record<string, unknown>>;
  for (const field of facts.fields) {
    const value = values[field.property];
    if (field.optional && value === undefined) continue;
    for (const item of field.repeated && Array.isArray(value) ? value : [value]) assertValue(facts, field, item);
  }
  if (payload.$case === 'topic' && !isTopic(payload.value.topic)) {
    throw new HostError('INVALID_REQUEST', 'topic is not <module>.<topic> as the contract describes it');
  }
  if (payload.$case === 'routeDiscovered' && payload.value.routePath.length === 0) {
    throw new HostError('INVALID_REQUEST', 'RouteDiscovered.route_path is empty');
  }
}

function assertValue(facts: EventFacts, field: PayloadField, value: unknown): void {
  const name = `${facts.name}.${field.name}`;
  if (field.enumValues !== undefined && !field.enumValues.has(value as number)) {
    throw new HostError('UNKNOWN_ENUM', `${name} has a value that this host does not know`);
  }
  if (field.kind === 'bytes') assertLength(name, field.name, (value as Uint8Array).byteLength);
  if (field.kind === 'number' && field.name.endsWith('_percent')) {
    const percent = value as number;
    // written so that NaN fails as well
    if (!(percent >= 0 && percent <= 100)) throw new HostError('INVALID_REQUEST', `${name} is not from 0 to 100`);
  }
}

function assertLength(name: string, field: string, bytes: number): void {
  if (field === 'txid' || field.endsWith('_hash')) {
    if (bytes !== HASH_BYTES) throw new HostError('INVALID_REQUEST', `${name} has ${bytes} bytes, not ${HASH_BYTES}`);
  } else if (field.endsWith('_pubkey')) {
    if (bytes !== PUBLIC_KEY_BYTES) {
      throw new HostError('INVALID_REQUEST', `${name} has ${bytes} bytes, not ${PUBLIC_KEY_BYTES}`);
    }
  } else if (field === 'destination' && (bytes === 0 || bytes > MAX_DESTINATION_BYTES)) {
    throw new HostError('INVALID_REQUEST', `${name} has ${bytes} bytes, not 1 to ${MAX_DESTINATION_BYTES}`);
  }
}
