import type {
  EventServiceService,
  SubscribeRequest,
  SubscribeResponse,
} from '../../gen/ts/modhost/event/v1/event_service.js';
import { createBackoff } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import type { ServiceClient } from './call.js';
import { ModhostError, type ModhostReason } from './error.js';
import { failureOf, isSessionOver, REOPEN } from './retry.js';

/** The host is there and says that it takes a while: waited for without end. */
const PATIENT: ReadonlySet<ModhostReason> = new Set<ModhostReason>([
  'NODE_UNAVAILABLE',
  'NODE_BUSY',
  'NODE_SYNCING',
  'RATE_LIMITED',
  'TOO_MANY_CALLS',
]);
/** The connection broke, or the host began anew: waited for as long as an outage may last. */
const BROKEN: ReadonlySet<ModhostReason> = new Set<ModhostReason>(['HOST_UNREACHABLE', 'HANDSHAKE_REQUIRED']);
/** As BROKEN, but only when the subscription stood before: at the first attempt these are the caller's own. */
const BROKEN_LATER: ReadonlySet<ModhostReason> = new Set<ModhostReason>(['STREAM_EXISTS', 'CANCELLED', 'INTERNAL']);

/** The session as a subscription needs it. */
export interface SubscriptionLink {
  readonly event: Pick<ServiceClient<typeof EventServiceService>, 'subscribe'>;
  readonly clock: Clock;
  /** Numbers in [0, 1), for the spread of retries. */
  readonly random: () => number;
  /** Longest time without a host before a subscription fails, milliseconds. */
  readonly maxOutageMs: number;
  /** Handshakes again with a host that has forgotten the session. */
  reopen(): Promise<void>;
  /** The subscription stands, at first or again. */
  stands(): Promise<void>;
  /** The subscription waits for node or host. */
  waits(error: ModhostError): void;
  /** The host has ended the session. */
  over(error: ModhostError): void;
}

/** One response, and whether it is the first of its stream. */
export interface Delivery {
  response: SubscribeResponse;
  first: boolean;
}

/**
 * Responses of a subscription that is opened again whenever it breaks: a dropped stream, a stream that the host ended, a
 * host that began anew. It ends without error when the signal fires or the host ends the session.
 *
 * @param request asked for at each opening, so that the cursor in it is the present one
 * @throws ModhostError for what a retry does not mend: MISSING_PERMISSION, CURSOR_UNKNOWN, PERMISSION_WITHDRAWN, … and
 *   HOST_UNREACHABLE after `maxOutageMs`
 */
export async function* keepSubscribed(
  link: SubscriptionLink,
  request: () => Partial<SubscribeRequest>,
  signal: AbortSignal,
): AsyncGenerator<Delivery, void, undefined> {
  const backoff = createBackoff(REOPEN, link.random);
  let stood = false;
  let brokenSinceMs: number | undefined;
  while (!signal.aborted) {
    let trouble: ModhostError | undefined;
    try {
      let first = true;
      for await (const response of link.event.subscribe(request(), { signal })) {
        if (first) {
          await link.stands();
          backoff.reset();
          stood = true;
          brokenSinceMs = undefined;
        }
        yield { response, first };
        first = false;
      }
    } catch (thrown) {
      trouble = ModhostError.from(thrown);
    }
    if (signal.aborted) return;
    if (trouble?.reason === 'HANDSHAKE_REQUIRED') trouble = (await failureOf(link.reopen)) ?? trouble;
    if (trouble !== undefined) {
      if (isSessionOver(trouble)) return link.over(trouble);
      if (!PATIENT.has(trouble.reason)) {
        if (!BROKEN.has(trouble.reason) && !(stood && BROKEN_LATER.has(trouble.reason))) throw trouble;
        brokenSinceMs ??= link.clock.monotonicMs();
        if (link.clock.monotonicMs() - brokenSinceMs > link.maxOutageMs) throw trouble;
      }
      link.waits(trouble);
    }
    await delay(Math.max(trouble?.retryAfterMs ?? 0, backoff.nextMs()), signal);
  }
}

/**
 * Runs a generator up to its first mark, so that what fails before it fails the caller and the generator can be left
 * from there on. The mark itself is never seen.
 *
 * @param source yields `undefined` once, when it stands
 */
export async function primed<T>(
  source: AsyncGenerator<T | undefined, void, undefined>,
): Promise<AsyncGenerator<T, void, undefined>> {
  await source.next();
  return source as AsyncGenerator<T, void, undefined>;
}
