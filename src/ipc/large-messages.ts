import type { Pace } from '../core/pace.js';

/** Size from which a message waits for a turn of its own, bytes: to check and decode one takes a millisecond and more. */
const LARGE_BYTES = 16 * 1024;
/**
 * What a message costs beside its decoding, milliseconds per MiB: its frames were copied together when they came, who keeps
 * what is in it hashes and copies it again, and all of it is garbage soon. With its rests a session that sends without
 * end comes to some 15 MiB per second: at twice that, others waited 50 ms. A single message of any size waits for nothing.
 */
const COPY_MS_PER_MIB = 12;
const MIB = 1024 * 1024;

/** Decodes a message in its turn: a small one at once, a large one when those before it have left the others time. */
export type LargeMessageGate = <T>(bytes: number, decode: () => T, signal?: AbortSignal) => T | Promise<T>;

/**
 * Makes the gate of one session: its large messages are decoded at the session's pace. Sixteen streams whose messages are
 * complete at the same moment would keep every other module for as long as all of them take.
 */
export function createLargeMessageGate(pace: Pace): LargeMessageGate {
  return (bytes, decode, signal) =>
    bytes < LARGE_BYTES ? decode() : pace.run(decode, (bytes / MIB) * COPY_MS_PER_MIB, signal);
}
