import { describe, expect, it } from 'vitest';
import { GetStatusResponse } from '../../gen/ts/modhost/admin/v1/admin.js';
import { Event } from '../../gen/ts/modhost/event/v1/event.js';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { createContractWords } from '../../src/contract/plain.js';

const words = createContractWords(createContractRegistry());
const hash = Uint8Array.from({ length: 32 }, (_, i) => i);
const displayed = Buffer.from(hash).reverse().toString('hex');

describe('messages as plain JSON', () => {
  it('shows hashes in display order, other bytes as hex, and the payload by its name', () => {
    const event = Event.fromPartial({
      sequence: 7n,
      payload: { $case: 'newBlock', value: { blockHash: hash, height: 5, header: new Uint8Array(80).fill(1) } },
    });
    expect(words.plain('modhost.event.v1.Event', event)).toMatchObject({
      sequence: 7,
      new_block: { block_hash: displayed, height: 5, header: '01'.repeat(80) },
    });
  });

  it('names enums without prefix, and keeps a number that it does not know', () => {
    expect(words.enumName('modhost.v1.ModuleState', 4)).toBe('RUNNING');
    expect(words.enumName('modhost.v1.ModuleState', 4_000)).toBe('4000');
    expect(words.enumNumber('modhost.v1.LogLevel', 'WARN')).toBe(4);
    expect(words.enumNumber('modhost.v1.LogLevel', 'LOUD')).toBeUndefined();
    expect(words.enumNames('modhost.v1.LogLevel')).toEqual(['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR']);
  });

  it('gives 64-bit numbers exactly: as numbers where they are, as text beyond', () => {
    const of = (uptimeMs: bigint) =>
      words.plain('modhost.admin.v1.GetStatusResponse', GetStatusResponse.fromPartial({ host: { uptimeMs } })).host;
    expect(of(2n ** 53n - 1n)).toMatchObject({ uptime_ms: Number.MAX_SAFE_INTEGER });
    expect(of(2n ** 53n)).toMatchObject({ uptime_ms: '9007199254740992' });
  });

  it('leaves out what is absent, and gives every key that JSON can hold', () => {
    const plain = words.plain('modhost.admin.v1.GetStatusResponse', GetStatusResponse.fromPartial({ node: {} }));
    expect(plain).not.toHaveProperty('host');
    expect(plain.node).not.toHaveProperty('last_error');
    expect(plain.node).toMatchObject({ tip_hash: '', indexes: [], simulated: false });
    expect(() => JSON.stringify(plain)).not.toThrow();
  });

  it('names the kind of thing that the contract does not have', () => {
    expect(() => words.plain('modhost.v1.Nothing', {})).toThrow('modhost.v1.Nothing');
    expect(() => words.enumName('modhost.v1.Nothing', 1)).toThrow('modhost.v1.Nothing');
  });
});
