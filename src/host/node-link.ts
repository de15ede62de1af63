import { type ErrorReason, HostError } from '../contract/error.js';
import { createBackoff } from '../core/backoff.js';
import { delay } from '../core/delay.js';
import type { Logger } from '../core/logger.js';

/** How long a start of the host waits for its node; after that it waits in the background. A warm-up can take minutes. */
const FIRST_WAIT_MS = 5_000;
/** Waits between two attempts: soon after a node has come up, without harassing one that stays away. */
const RETRY = { firstMs: 500, maxMs: 15_000, jitter: 0.2 };
/** Reasons that heal by waiting. Whatever else a first attempt says, the operator must mend. */
const HEALING: ReadonlySet<ErrorReason> = new Set(['NODE_UNAVAILABLE', 'NODE_SYNCING', 'NODE_BUSY']);

/** The way from the host to its node: opened once, waited for as long as it takes. */
export interface NodeLink {
  /**
   * Opens the way. Resolves once the node was reached, or when it is clear that it is not there yet; then the host runs
   * without it and attempts go on in the background.
   *
   * @throws what the first attempt says and no waiting heals: NODE_AUTH, BAD_CONFIG, …
   */
  open(signal: AbortSignal): Promise<void>;
  /** Resolves once the node was reached; rejects with the signal's reason when it aborts before. */
  reached(signal: AbortSignal): Promise<void>;
  /** @throws HostError NODE_UNAVAILABLE until the node was reached for the first time */
  assertReached(): void;
  /** Why the node was not reached yet; undefined once it was. */
  obstacle(): HostError | undefined;
}

/** What a link is made of. */
export interface NodeLinkOptions {
  /** One attempt; may be repeated after it has failed. */
  connect(signal: AbortSignal): Promise<void>;
  /** Hears that the node was reached, before `reached` resolves. */
  onReached(): Promise<void>;
  log: Logger;
  /** Numbers in [0, 1). */
  random: () => number;
  firstWaitMs?: number;
}

/** Makes a link that is not open yet. */
export function createNodeLink({ connect, onReached, log, random, firstWaitMs }: NodeLinkOptions): NodeLink {
  let obstacle: HostError | undefined = new HostError('NODE_UNAVAILABLE', 'the node has not been asked yet');
  let markReached: () => void = () => {};
  const reached = new Promise<void>((resolve) => {
    markReached = resolve;
  });

  const attempt = async (signal: AbortSignal): Promise<void> => {
    await connect(signal);
    obstacle = undefined;
    await onReached();
    markReached();
  };

  const keepTrying = async (signal: AbortSignal): Promise<void> => {
    const backoff = createBackoff(RETRY, random);
    while (obstacle !== undefined && !signal.aborted) {
      await delay(backoff.nextMs(), signal);
      if (signal.aborted) return;
      try {
        await attempt(signal);
        log.info({}, 'the node was reached');
      } catch (thrown) {
        const error = HostError.from(thrown);
        if (error.reason !== obstacle.reason && !signal.aborted) {
          log.error({ reason: error.reason, node: error.message }, 'the node cannot be used; trying again');
        }
        obstacle = error;
      }
    }
  };

  return {
    async open(signal) {
      const first = attempt(signal);
      const patience = new AbortController();
      const slow = delay(firstWaitMs ?? FIRST_WAIT_MS, patience.signal).then(() => 'slow' as const);
      try {
        if ((await Promise.race([first, slow])) !== 'slow') return;
        obstacle = new HostError('NODE_SYNCING', 'the node has not answered yet: it warms up, or is far away');
        log.warn({}, 'the node has not answered yet; waiting for it');
        first.catch((thrown: unknown) => {
          obstacle = HostError.from(thrown);
          if (!signal.aborted) log.warn({ node: obstacle.message }, 'the node cannot be used; trying again');
          void keepTrying(signal);
        });
      } catch (thrown) {
        const error = HostError.from(thrown);
        if (!HEALING.has(error.reason) || signal.aborted) throw error;
        obstacle = error;
        log.warn({ reason: error.reason, node: error.message }, 'the node is not there yet; waiting for it');
        void keepTrying(signal);
      } finally {
        patience.abort();
      }
    },
    async reached(signal) {
      let stop: () => void = () => {};
      const aborted = new Promise<never>((_, reject) => {
        stop = () => reject(HostError.from(signal.reason));
        if (signal.aborted) stop();
        else signal.addEventListener('abort', stop, { once: true });
      });
      try {
        await Promise.race([reached, aborted]);
      } finally {
        signal.removeEventListener('abort', stop);
      }
    },
    assertReached() {
      if (obstacle === undefined) return;
      throw new HostError('NODE_UNAVAILABLE', `the host has not reached its node yet: ${obstacle.message}`, {
        retryAfterMs: RETRY.firstMs,
      });
    },
    obstacle: () => obstacle,
  };
}
