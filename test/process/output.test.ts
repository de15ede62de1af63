import { describe, expect, test } from 'vitest';
import { createOutputCapture, MAX_LINE_BYTES, type OutputLine } from '../../src/process/output.js';

function capture() {
  let now = 0;
  const lines: OutputLine[] = [];
  const clock = { monotonicMs: () => now, unixMs: () => now };
  return {
    lines,
    output: createOutputCapture(clock, (line) => lines.push(line)),
    pass(ms: number) {
      now += ms;
    },
  };
}

describe('what a module writes', () => {
  test('lines are put together across chunks, streams apart, the last one without its end', () => {
    const { lines, output } = capture();
    for (const part of ['on', 'e\r\ntwo\n\nth', 'ree']) output.feed('stdout', Buffer.from(part));
    output.feed('stderr', Buffer.from('other\n'));
    output.end('stdout');
    output.end('stderr');
    expect(lines.map(({ stream, text }) => `${stream} ${text}`)).toEqual([
      'stdout one',
      'stdout two',
      'stderr other',
      'stdout three',
    ]);
  });

  test('a character cut by a chunk is whole again, bytes that are no UTF-8 are replaced', () => {
    const { lines, output } = capture();
    const euro = Buffer.from('€\n');
    output.feed('stdout', euro.subarray(0, 1));
    output.feed('stdout', euro.subarray(1));
    output.feed('stdout', Buffer.from([0xff, 0xfe, 0x0a]));
    expect(lines.map(({ text }) => text)).toEqual(['€', '\ufffd\ufffd']);
  });

  test('C156: nothing in a line can end it, colour it or turn it round', () => {
    const { lines, output } = capture();
    output.feed('stdout', Buffer.from('a\rb\x1b[31mred\x07\u202egnp.exe\u2028{"level":"error"}\u0085\u200b\ttab\n'));
    expect(lines.map(({ text }) => text)).toEqual([
      'a\\x0db\\x1b[31mred\\x07\\u{202e}gnp.exe\\u{2028}{"level":"error"}\\x85\\u{200b}\ttab',
    ]);
    output.feed('stdout', Buffer.from(`${'\x1b'.repeat(MAX_LINE_BYTES)}\n`));
    expect(lines[1]?.text).toHaveLength(MAX_LINE_BYTES);
    expect(lines[1]?.cut).toBe(true);
    output.feed('stdout', Buffer.from(`${'x'.repeat(1024 * 1024)}\nnext\n`));
    expect(lines[2]).toMatchObject({ cut: true, dropped: 0 });
    expect(lines[2]?.text).toHaveLength(MAX_LINE_BYTES);
    expect(lines[3]).toMatchObject({ text: 'next', cut: false });
  });

  test('C145: an endless line costs as much as a full one', () => {
    const { lines, output } = capture();
    const chunk = Buffer.alloc(65_536, 'x');
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 16_384; i += 1) output.feed('stderr', chunk);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
    output.end('stderr');
    expect(lines).toHaveLength(1);
    expect(output.stderrTail()).toHaveLength(4096);
  });

  test('C158: past its rate a module loses lines, is told how many, and gets its share again', () => {
    const { lines, output, pass } = capture();
    const line = Buffer.from(`${'y'.repeat(1023)}\n`);
    for (let i = 0; i < 3000; i += 1) output.feed('stdout', line);
    const kept = lines.length;
    expect(kept).toBeGreaterThan(1000);
    expect(kept).toBeLessThan(1100);
    pass(1000);
    output.feed('stdout', Buffer.from('later\n'));
    expect(lines.slice(kept)).toMatchObject([{ dropped: 3000 - kept }, { text: 'later', dropped: 0 }]);
    for (let i = 0; i < 100_000; i += 1) output.feed('stdout', Buffer.from('z\n'));
    output.end('stdout');
    const told = lines.reduce((sum, { dropped }) => sum + dropped, 0);
    const heard = lines.filter(({ dropped }) => dropped === 0).length;
    expect(heard + told).toBe(3000 + 1 + 100_000);
    expect(heard).toBeLessThan(11_000);
  });

  test('the host reads no faster than it must', () => {
    const { output, pass } = capture();
    const chunk = Buffer.alloc(1024 * 1024);
    const waits = Array.from({ length: 20 }, () => output.feed('stdout', chunk));
    expect(waits[0]).toBe(0);
    expect(waits.at(-1)).toBeGreaterThan(0);
    pass(60_000);
    expect(output.feed('stdout', chunk)).toBe(0);
  });
});
