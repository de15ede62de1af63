import type { InvocationResult, InvocationServiceService, ServeRequest } from '../../gen/ts/modhost/v1/invocation.js';
import { createBackoff } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import type { ServiceClient } from './call.js';
import { ModhostError, type ModhostReason } from './error.js';
import { createWorker, type Handlers } from './invocations.js';
import { failureOf, isSessionOver, REOPEN } from './retry.js';

/** A stream that has stood this long was a good one: the next attempt is made at once again, milliseconds. */
const STOOD_MS = 1_000;
/** How long the answers that are left may take when the module closes, milliseconds. */
const FLUSH_MS = 500;

/** The host asks nothing of modules. */
const UNSERVED: ReadonlySet<ModhostReason> = new Set<ModhostReason>(['NOT_YET_SERVED', 'UNKNOWN_METHOD']);
/** Nobody is there: waited for as long as an outage may last. */
const GONE: ReadonlySet<ModhostReason> = new Set<ModhostReason>(['HOST_UNREACHABLE', 'HANDSHAKE_REQUIRED']);

/** The session as the stream of invocations needs it. */
export interface ServeLink {
  readonly invocation: Pick<ServiceClient<typeof InvocationServiceService>, 'serve'>;
  readonly clock: Clock;
  /** Numbers in [0, 1), for the spread of retries. */
  readonly random: () => number;
  /** Longest time without a host before the session counts as over, milliseconds. */
  readonly maxOutageMs: number;
  /** Handshakes again with a host that has forgotten the session. */
  reopen(): Promise<void>;
  /** The session is over, or no host answers any more. */
  over(error: ModhostError): void;
}

/** A module's answers to what it is asked. */
export interface Serving {
  /** Hands over the answers that are there and takes no more work. Idempotent; never rejects. */
  close(): Promise<void>;
}

/**
 * Serves invocations until the signal fires, over a stream that is opened again whenever it breaks; what was under way on
 * the broken one is given up, as the host has done.
 *
 * @param maxConcurrent invocations open at a time; 0 = as many as the host allows
 */
export function keepServing(link: ServeLink, handlers: Handlers, maxConcurrent: number, signal: AbortSignal): Serving {
  const closing = new AbortController();
  const ended = serveOn(link, handlers, maxConcurrent, signal, closing.signal);
  return {
    async close() {
      closing.abort();
      await Promise.race([ended, delay(FLUSH_MS)]);
    },
  };
}

async function serveOn(
  link: ServeLink,
  handlers: Handlers,
  maxConcurrent: number,
  signal: AbortSignal,
  closing: AbortSignal,
): Promise<void> {
  const backoff = createBackoff(REOPEN, link.random);
  let brokenSinceMs: number | undefined;
  while (!signal.aborted && !closing.aborted) {
    const openedMs = link.clock.monotonicMs();
    let trouble = await serveOnce(link, handlers, maxConcurrent, signal, closing);
    if (signal.aborted || closing.aborted) return;
    if (link.clock.monotonicMs() - openedMs > STOOD_MS) {
      backoff.reset();
      brokenSinceMs = undefined;
    }
    if (trouble?.reason === 'HANDSHAKE_REQUIRED') {
      trouble = await failureOf(link.reopen);
    }
    if (trouble !== undefined) {
      if (UNSERVED.has(trouble.reason)) return;
      if (isSessionOver(trouble)) return link.over(trouble);
      if (GONE.has(trouble.reason)) {
        brokenSinceMs ??= link.clock.monotonicMs();
        if (link.clock.monotonicMs() - brokenSinceMs > link.maxOutageMs) return link.over(trouble);
      }
    }
    await delay(Math.max(trouble?.retryAfterMs ?? 0, backoff.nextMs()), signal);
  }
}

/** One stream from its opening to its end; why it broke, if it did. */
async function serveOnce(
  link: ServeLink,
  handlers: Handlers,
  maxConcurrent: number,
  signal: AbortSignal,
  closing: AbortSignal,
): Promise<ModhostError | undefined> {
  const outbox = createOutbox(maxConcurrent);
  const worker = createWorker(handlers, outbox.put);
  const close = (): void => void worker.idle().then(() => outbox.close());
  if (closing.aborted) close();
  else closing.addEventListener('abort', close, { once: true });
  try {
    for await (const { invocations, cancelledIds } of link.invocation.serve(outbox.requests(), { signal })) {
      for (const invocation of invocations) worker.begin(invocation);
      worker.cancel(cancelledIds);
    }
    return undefined;
  } catch (thrown) {
    return ModhostError.from(thrown);
  } finally {
    closing.removeEventListener('abort', close);
    worker.close();
    outbox.close();
  }
}

/** Answers on their way out: what comes while one message is written goes into the next. */
function createOutbox(maxConcurrent: number) {
  let results: InvocationResult[] = [];
  let closed = false;
  let wake: () => void = () => {};
  return {
    put(result: InvocationResult): void {
      results.push(result);
      wake();
    },
    close(): void {
      closed = true;
      wake();
    },
    /** The requests of one stream; its end half-closes the stream. */
    async *requests(): AsyncGenerator<ServeRequest> {
      // the host counts the bound only from the first message
      yield { maxConcurrent, results: [] };
      for (;;) {
        if (results.length > 0) {
          const batch = results;
          results = [];
          yield { maxConcurrent: 0, results: batch };
        } else if (closed) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    },
  };
}
