import { delay } from './delay.js';

/**
 * Waits for the work, but not for ever: work that takes longer goes on unheard.
 *
 * @param late makes what is thrown when the time is up
 */
export async function inTime<T>(work: Promise<T>, timeoutMs: number, late: () => Error): Promise<T> {
  const patience = new AbortController();
  const tooLate = delay(timeoutMs, patience.signal).then((): never => {
    throw late();
  });
  // it comes as well when the work was in time, and then nobody asks
  tooLate.catch(() => undefined);
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    patience.abort();
  }
}
