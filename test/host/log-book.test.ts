import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LogLine } from '../../gen/ts/modhost/admin/v1/admin.js';
import { LogLevel, type WriteRequest, WriteRequest as WriteRequestType } from '../../gen/ts/modhost/v1/log.js';
import type { LogFields, Logger } from '../../src/core/logger.js';
import { cutBytes, printableBytes } from '../../src/core/printable.js';
import { createLogBook, MAX_LOG_LINE_BYTES } from '../../src/host/log-book.js';
import { createLogService } from '../../src/services/log.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A logger that keeps what it is given. */
function createKeeper() {
  const kept: { fields: LogFields; message: string }[] = [];
  const keep = (fields: LogFields, message: string): void => {
    kept.push({ fields, message });
  };
  const logger: Logger = { trace: keep, debug: keep, info: keep, warn: keep, error: keep, child: () => logger };
  return { kept, logger };
}

function createRig(bytesPerSecond = 1024 * 1024) {
  let now = 0;
  const { kept, logger } = createKeeper();
  const book = createLogBook(logger, { monotonicMs: () => now, unixMs: () => 5_000 + now });
  const log = book.forModule('probe', bytesPerSecond);
  const service = createLogService(log.sink('RECORD'));
  const write = (...requests: { records: Partial<WriteRequest['records'][number]>[] }[]) =>
    service.write(
      (async function* () {
        for (const request of requests) yield WriteRequestType.fromPartial(request as never);
      })(),
      { method: '', signal: new AbortController().signal, timeLeftMs: () => Infinity },
    );
  const lines = (): LogLine[] => book.lines.tail(1_000, () => true);
  return { kept, log, write, lines, pass: (ms: number) => (now += ms) };
}

const bytesOf = ({ message, target, fields }: LogLine): number =>
  [message, target, ...fields.flatMap(({ key, value }) => [key, value])].reduce(
    (sum, text) => sum + Buffer.byteLength(text),
    0,
  );

describe('a module’s records', () => {
  it('keep their order, their level, their part, and both times', async () => {
    const { write, lines, kept } = createRig();
    const answer = await write(
      { records: [{ level: LogLevel.ERROR, message: 'one', target: 'wallet.sync', timeUnixMs: 1_234n }] },
      { records: [] },
      { records: [{ level: 77 as LogLevel, message: 'two' }, { message: 'three' }] },
    );
    expect(answer).toEqual({ accepted: 3n, dropped: 0n });
    expect(lines()).toMatchObject([
      { message: 'one', level: LogLevel.ERROR, target: 'wallet.sync', timeUnixMs: 5_000n, moduleTimeUnixMs: 1_234n },
      { message: 'two', level: LogLevel.INFO, moduleTimeUnixMs: 0n },
      { message: 'three', level: LogLevel.INFO },
    ]);
    expect(kept[0]?.fields).toMatchObject({ moduleTimeUnixMs: 1_234, target: 'wallet.sync' });
    expect(kept[1]?.fields).not.toHaveProperty('moduleTimeUnixMs');
  });

  it('keep both values of a name given twice, in the book and in what the host writes', async () => {
    const { write, lines, kept } = createRig();
    const fields = [
      { key: 'peer', value: 'a' },
      { key: 'peer', value: 'b' },
      { key: '__proto__', value: 'c' },
    ];
    await write({ records: [{ message: 'm', fields }] });
    expect(lines()[0]?.fields).toEqual(fields);
    expect(kept[0]?.fields.fields).toEqual({ x_peer: ['a', 'b'], x___proto__: 'c' });
  });

  it('are cut at the line’s bytes, not at characters, message before target before fields', async () => {
    const { write, lines } = createRig();
    const many = Array.from({ length: 80 }, (_, i) => ({ key: `k${i}${'ä'.repeat(100)}`, value: 'ü'.repeat(300) }));
    await write({ records: [{ message: '€'.repeat(5_000), target: 'part', fields: many }] });
    await write({ records: [{ message: 'short', target: 'ö'.repeat(1_000), fields: many }] });
    await write({ records: [{ message: '\u0000'.repeat(8_000) }] });
    const [first, second, third] = lines();
    for (const line of lines()) expect(bytesOf(line)).toBeLessThanOrEqual(MAX_LOG_LINE_BYTES);
    expect(first?.fields).toEqual([]);
    expect(first?.message.endsWith('€…')).toBe(true);
    expect(Buffer.byteLength(second?.target ?? '')).toBeLessThanOrEqual(256);
    expect(second?.fields.length).toBeGreaterThan(5);
    expect(third?.message.startsWith('\\x00\\x00')).toBe(true);
  });

  it('over the volume of a second, counted in bytes, are dropped, counted, and summed up in one line', async () => {
    const { write, lines, log, pass } = createRig(10_000);
    // 3,000 characters of three bytes are a line of the largest size
    const records = Array.from({ length: 5 }, () => ({ message: '€'.repeat(3_000) }));
    expect(await write({ records })).toEqual({ accepted: 1n, dropped: 4n });
    expect(log.dropped()).toBe(4n);
    vi.advanceTimersByTime(1_000);
    expect(lines().filter(({ message }) => message.includes('4 lines dropped'))).toHaveLength(1);
    pass(1_000);
    expect(await write({ records: [{ message: 'again' }] })).toEqual({ accepted: 1n, dropped: 0n });
  });
});

describe('texts cut at bytes', () => {
  it('never cut a character in two, and are never longer than asked', () => {
    const text = 'a\u00e4\u20ac\u{1f600}'.repeat(20);
    for (let most = 0; most < 210; most++) {
      const cut = cutBytes(text, most);
      expect(text.startsWith(cut)).toBe(true);
      expect(cut.isWellFormed()).toBe(true);
      expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(most);
      expect(Buffer.byteLength(printableBytes(`${text}\u0007`, most))).toBeLessThanOrEqual(most);
    }
    expect(cutBytes(text, 200)).toBe(text);
    expect(printableBytes('a\u0007', 5)).toBe('a\\x07');
  });
});
