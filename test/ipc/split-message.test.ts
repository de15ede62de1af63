import { describe, expect, it } from 'vitest';
import { LogLevel, type LogRecord, WriteRequest } from '../../gen/ts/modhost/v1/log.js';
import { splitMessage } from '../../src/ipc/split-message.js';

const record = (message: string): LogRecord => ({
  level: LogLevel.INFO,
  message,
  target: 'part',
  timeUnixMs: 5n,
  fields: [{ key: 'k', value: 'v' }],
});
const encoded = (records: LogRecord[]): Buffer => Buffer.from(WriteRequest.encode({ records }).finish());

describe('a large message that is a list', () => {
  it('is cut into messages that together say the same, none larger than asked unless one element is', () => {
    const records = Array.from({ length: 1_000 }, (_, n) => record(n === 500 ? 'x'.repeat(9_000) : `record ${n}`));
    const parts = splitMessage(encoded(records), 4_096);
    expect(parts.length).toBeGreaterThan(8);
    expect(parts.flatMap((part) => WriteRequest.decode(part).records)).toEqual(records);
    const large = parts.filter((part) => part.length > 4_096);
    expect(large.map((part) => WriteRequest.decode(part).records.length)).toEqual([1]);
  });

  it('is left whole when it is small, or empty', () => {
    const small = encoded([record('one'), record('two')]);
    expect(splitMessage(small, 4_096)).toEqual([small]);
    expect(splitMessage(Buffer.alloc(0), 4_096)).toEqual([Buffer.alloc(0)]);
  });

  it('is left whole when it is none, for the decoder to say so', () => {
    const whole = encoded(Array.from({ length: 100 }, (_, n) => record(`record ${n}`)));
    const cut = whole.subarray(0, whole.length - 1);
    // a varint, a group, a length of more than a message, a length that does not end
    for (const last of [[8, 1], [11], [10, 0xff, 0xff, 0xff, 0xff, 0x0f], [10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]) {
      const broken = Buffer.concat([whole, Buffer.from(last)]);
      expect(splitMessage(broken, 256)).toEqual([broken]);
    }
    expect(splitMessage(cut, 256)).toEqual([cut]);
  });
});
