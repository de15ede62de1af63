import type { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { delay } from '../core/delay.js';
import { createPace } from '../core/pace.js';
import type { OutputCapture } from './output.js';

/**
 * Bytes that are taken at once: a pipe hands 64 KiB over, which of short lines are more than anybody else should have to
 * wait for.
 */
const FEED_BYTES = 2 * 1024;

/**
 * Hears one stream of a process, a few lines at a time with rests between them and at the rate that the capture sets; once
 * the process has ended without pauses.
 *
 * @param ended fires at the end of the process
 * @returns     tells when everything that came so far has been taken
 */
export function hear(
  stream: Readable,
  name: 'stdout' | 'stderr',
  capture: OutputCapture,
  ended: AbortSignal,
): () => Promise<void> {
  const waiting: Buffer[] = [];
  const pace = createPace();
  let working: Promise<void> | undefined;

  const work = async (firstMs: number): Promise<void> => {
    stream.pause();
    let owedMs = firstMs;
    for (let chunk = waiting.shift(); chunk !== undefined; chunk = waiting.shift()) {
      for (let start = 0; start < chunk.length; start += FEED_BYTES) {
        const part = chunk.subarray(start, start + FEED_BYTES);
        if (owedMs > 0) await delay(owedMs, ended);
        if (ended.aborted) {
          await turn();
          owedMs = capture.feed(name, part);
        } else {
          owedMs = await pace.run(() => capture.feed(name, part));
        }
      }
    }
    if (owedMs > 0) await delay(owedMs, ended);
    // Node resumes the streams of a process that has ended, so more may have come
    if (waiting.length > 0) return work(0);
    working = undefined;
    stream.resume();
  };
  stream.on('error', () => undefined);
  stream.on('data', (chunk: Buffer) => {
    if (working !== undefined) {
      waiting.push(chunk);
      return;
    }
    const owedMs = capture.feed(name, chunk.subarray(0, FEED_BYTES));
    if (chunk.length > FEED_BYTES) waiting.push(chunk.subarray(FEED_BYTES));
    if (waiting.length > 0 || (owedMs > 0 && !ended.aborted)) working = work(owedMs);
  });
  return () => working ?? Promise.resolve();
}
