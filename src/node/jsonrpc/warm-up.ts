import { HostError, throwIfAborted } from '../../contract/error.js';
import { delay } from '../../core/delay.js';
import type { Logger } from '../../core/logger.js';

/** Waits between two questions to a node that warms up. */
const WARM_UP_POLL_MS = 1_000;

/** The first answer of a node that may still verify or load its blocks; waits for it as long as the signal allows. */
export async function untilWarm<T>(ask: () => Promise<T>, logger: Logger, signal: AbortSignal): Promise<T> {
  let told = false;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const failure = HostError.from(error);
      if (failure.reason !== 'NODE_SYNCING') throw failure;
      if (!told) logger.info({ node: failure.message }, 'waiting for the node');
      told = true;
    }
    await delay(WARM_UP_POLL_MS, signal);
    throwIfAborted(signal);
  }
}
