import { createBackoff } from '../core/backoff.js';
import { delay } from '../core/delay.js';
import { cancelled, ModhostError, type ModhostReason } from './error.js';

/** Waits between attempts. */
const RETRY = { firstMs: 100, maxMs: 10_000, jitter: 0.3 };

/** Reasons after which the same call may succeed: those whose recovery in the contract is "retry", and a lost host. */
const RETRYABLE: ReadonlySet<ModhostReason> = new Set<ModhostReason>([
  'HOST_UNREACHABLE',
  'DEADLINE_EXCEEDED',
  'RATE_LIMITED',
  'TOO_MANY_CALLS',
  'NODE_SYNCING',
  'NODE_UNAVAILABLE',
  'NODE_BUSY',
  'TIP_MOVED',
  'MODULE_UNAVAILABLE',
]);

/** Waits before a stream that broke is opened again: soon, since the host is on this machine. */
export const REOPEN = { firstMs: 50, maxMs: 5_000, jitter: 0.3 };

/** The host has ended the session, which is how a module is stopped; no retry brings it back. */
const SESSION_OVER: ReadonlySet<ModhostReason> = new Set<ModhostReason>(['SESSION_CLOSED', 'HOST_STOPPING']);

/** True when the host has ended the session. */
export function isSessionOver(error: ModhostError): boolean {
  return SESSION_OVER.has(error.reason);
}

/** What the work failed with; undefined when it did not. Never rejects. */
export async function failureOf(work: () => Promise<void>): Promise<ModhostError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return ModhostError.from(error);
  }
}

/** How long to try. */
export interface RetryOptions {
  /** Ends the attempts with CANCELLED. */
  signal?: AbortSignal;
  /** Attempts at most; default without bound. */
  attempts?: number;
  /** Numbers in [0, 1). */
  random?: () => number;
}

/** True when the same call may succeed later. */
export function isRetryable(error: ModhostError): boolean {
  return RETRYABLE.has(error.reason);
}

/**
 * Makes a call again, with growing pauses and never sooner than the host says, as long as its failure is one that
 * passes. Meant for calls that may be made twice: every read, and SubmitTransaction.
 *
 * @throws ModhostError of the last attempt, or CANCELLED
 */
export async function withRetry<T>(call: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { signal, attempts = Number.POSITIVE_INFINITY, random = Math.random } = options;
  const backoff = createBackoff(RETRY, random);
  for (let attempt = 1; ; attempt++) {
    if (signal?.aborted) throw cancelled(signal.reason);
    try {
      return await call();
    } catch (thrown) {
      const error = ModhostError.from(thrown);
      if (!isRetryable(error) || attempt >= attempts) throw error;
      await delay(Math.max(error.retryAfterMs ?? 0, backoff.nextMs()), signal);
    }
  }
}
