import { BinaryReader } from '@bufbuild/protobuf/wire';
import { describe, expect, it } from 'vitest';
import { Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { readEventTypes } from '../../src/contract/event-type.js';

const catalogue = readEventTypes(createContractRegistry());

describe('the event catalogue', () => {
  it('names for each type the payload that the generated code encodes under its number', () => {
    expect(catalogue.all).toHaveLength(124);
    for (const facts of catalogue.all) {
      const payload = { $case: facts.payloadCase, value: {} } as never;
      const bytes = Event.encode(Event.fromPartial({ payload })).finish();
      const [number] = new BinaryReader(bytes).tag();
      expect(number, facts.name).toBe(facts.type);
      expect(EventType[facts.name as keyof typeof EventType], facts.name).toBe(facts.type);
      expect(catalogue.byCase(facts.payloadCase)).toBe(facts);
      expect(catalogue.byType(facts.type)).toBe(facts);
    }
  });

  it('knows the fields of payloads by the names of the generated code', () => {
    for (const facts of catalogue.all) {
      const payload = { $case: facts.payloadCase, value: {} } as never;
      const value = Event.fromPartial({ payload }).payload?.value as unknown as Record<string, unknown>;
      for (const field of facts.fields) {
        if (!field.optional) expect(value, `${facts.name}.${field.name}`).toHaveProperty(field.property);
        if (field.kind === 'bytes' && !field.repeated) {
          expect(value[field.property], `${facts.name}.${field.name}`).toBeInstanceOf(Uint8Array);
        }
      }
    }
  });

  it('does not know the zero value and numbers of the future', () => {
    expect(catalogue.byType(0)).toBeUndefined();
    expect(catalogue.byType(9_999)).toBeUndefined();
    expect(catalogue.byType(-1)).toBeUndefined();
  });
});
