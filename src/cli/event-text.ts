import type { PlainObject, PlainValue } from '../contract/plain.js';

/** Longest value shown in a line for people, characters; `--json` shows all of it. */
const MAX_VALUE_CHARS = 80;

/** The founding document's name of an event type: `NEW_BLOCK` -> `NewBlock`. */
export function eventTitle(name: string): string {
  return name
    .split('_')
    .map((word) => word.charAt(0) + word.slice(1).toLowerCase())
    .join('');
}

/** An event as it is told in JSON: its facts, its type by name, and the payload under one key whatever the type. */
export interface ToldEvent {
  [key: string]: PlainValue;
  type: string;
  payload: PlainObject;
}

/**
 * Puts the payload of a plain event under `payload` and names its type.
 *
 * @param plain    the event by the contract's words
 * @param typeName name of its type without prefix, for example `NEW_BLOCK`
 * @param key      name of its payload field, for example `new_block`
 */
export function toldEvent(plain: PlainObject, typeName: string, key: string): ToldEvent {
  const { [key]: payload, ...facts } = plain;
  return { ...facts, type: eventTitle(typeName), payload: (payload ?? {}) as PlainObject };
}

/** `key=value` pairs of a payload for one line. */
export function payloadText(payload: PlainObject): string {
  return Object.entries(payload)
    .map(([key, value]) => {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      return `${key}=${text.length > MAX_VALUE_CHARS ? `${text.slice(0, MAX_VALUE_CHARS)}…` : text}`;
    })
    .join(' ');
}
