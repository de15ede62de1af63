import type { Clock } from '../core/clock.js';
import { printable } from '../core/printable.js';
import { createTokenBucket } from '../core/token-bucket.js';

/** Longest line that is kept, bytes before and characters after escaping; the rest of the line is thrown away. */
export const MAX_LINE_BYTES = 8 * 1024;
/** What a module may write on both streams, bytes per second and at once (the log quota); more is dropped and counted. */
export const OUTPUT_BYTES_PER_SECOND = 1024 * 1024;
/** Least price of a line, bytes: what its record costs around the text. A flood of empty lines must not be cheap. */
const LINE_PRICE = 256;
/** What the host reads at most, bytes per second and at once: past it the module's writes wait, not the host. */
const READ_BYTES_PER_SECOND = 4 * 1024 * 1024;
const READ_BURST = 64 * 1024;
/** What looking at a line costs beyond its bytes, in bytes of reading: a pipe of short lines holds two thousand in a chunk. */
const READ_LINE_PRICE = 512;
/** Kept of the end of standard error for the report of an exit, bytes. */
export const TAIL_BYTES = 4 * 1024;
/** How long a count of dropped lines may wait for a line that it can be told before, milliseconds. */
const SUMMARY_DELAY_MS = 1000;

/** One line that a module wrote, safe to print and to log. */
export interface OutputLine {
  readonly stream: 'stdout' | 'stderr';
  /** Escaped text without line end, at most MAX_LINE_BYTES characters; for a summary the host's own words. */
  readonly text: string;
  /** True when the line was longer. */
  readonly cut: boolean;
  /** Not 0: this is no line of the module, it tells how many of its lines were dropped before. */
  readonly dropped: number;
}

/** Turns the bytes of one process into lines, in bounded memory and at a bounded rate. */
export interface OutputCapture {
  /** Takes bytes; answers 0, or the milliseconds for which the stream should not be read. */
  feed(stream: 'stdout' | 'stderr', chunk: Buffer): number;
  /** Ends a stream: a last line without line end is a line. */
  end(stream: 'stdout' | 'stderr'): void;
  /** The last TAIL_BYTES of standard error, escaped, line ends kept. */
  stderrTail(): string;
}

/** Makes the capture of one process; `onLine` must not throw. */
export function createOutputCapture(clock: Clock, onLine: (line: OutputLine) => void): OutputCapture {
  const budget = createTokenBucket({ ratePerSecond: OUTPUT_BYTES_PER_SECOND, burst: OUTPUT_BYTES_PER_SECOND }, clock);
  const reading = createTokenBucket({ ratePerSecond: READ_BYTES_PER_SECOND, burst: READ_BURST }, clock);
  const open = { stdout: createLine(), stderr: createLine() };
  const tail = createTail();
  let dropped = 0;
  let summary: NodeJS.Timeout | undefined;

  const tellDropped = (stream: 'stdout' | 'stderr'): void => {
    clearTimeout(summary);
    summary = undefined;
    if (dropped === 0) return;
    const count = dropped;
    dropped = 0;
    onLine({
      stream,
      text: `${count} lines dropped: over ${OUTPUT_BYTES_PER_SECOND} bytes per second`,
      cut: false,
      dropped: count,
    });
  };
  const finish = (stream: 'stdout' | 'stderr'): void => {
    const { bytes, cut } = open[stream].take();
    if (bytes.length === 0) return;
    if (budget.take(Math.max(bytes.length, LINE_PRICE)) > 0) {
      dropped += 1;
      summary ??= setTimeout(() => tellDropped(stream), SUMMARY_DELAY_MS).unref();
      return;
    }
    tellDropped(stream);
    const escaped = printable(bytes.toString('utf8').replace(/\r$/, ''));
    const long = escaped.length > MAX_LINE_BYTES;
    onLine({ stream, text: long ? escaped.slice(0, MAX_LINE_BYTES) : escaped, cut: cut || long, dropped: 0 });
  };
  return {
    feed(stream, chunk) {
      if (stream === 'stderr') tail.add(chunk);
      let start = 0;
      let lines = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        open[stream].add(chunk.subarray(start, end));
        finish(stream);
        start = end + 1;
        lines += 1;
      }
      open[stream].add(chunk.subarray(start));
      return reading.take(chunk.length + lines * READ_LINE_PRICE);
    },
    end(stream) {
      finish(stream);
      tellDropped(stream);
    },
    stderrTail: () => tail.text(),
  };
}

/** A line that grows in a buffer of its own; what exceeds the bound is not kept. */
function createLine() {
  // Copied into, never concatenated: a module that writes byte by byte must not make garbage by the megabyte.
  const buffer = Buffer.alloc(MAX_LINE_BYTES);
  let length = 0;
  let cut = false;
  return {
    add(part: Buffer): void {
      const copied = part.copy(buffer, length);
      length += copied;
      if (copied < part.length) cut = true;
    },
    /** The line so far, valid until the next `add`. */
    take(): { bytes: Buffer; cut: boolean } {
      const taken = { bytes: buffer.subarray(0, length), cut };
      length = 0;
      cut = false;
      return taken;
    },
  };
}

/** The last bytes of a stream. */
function createTail() {
  const buffer = Buffer.alloc(TAIL_BYTES);
  let length = 0;
  return {
    add(chunk: Buffer): void {
      const part = chunk.subarray(-TAIL_BYTES);
      const kept = Math.min(length, TAIL_BYTES - part.length);
      buffer.copyWithin(0, length - kept, length);
      length = kept + part.copy(buffer, kept);
    },
    text: (): string => buffer.toString('utf8', 0, length).split('\n').map(printable).join('\n'),
  };
}
