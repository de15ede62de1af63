import { type Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
import type { Gap } from '../../gen/ts/modhost/event/v1/event_service.js';
import { keepSubscribed, primed, type SubscriptionLink } from './subscription.js';

/** Name of an event type without its prefix, for example `NEW_TRANSACTION`. */
export type EventName = Exclude<keyof typeof EventType, 'UNSPECIFIED' | 'UNRECOGNIZED' | 'TOPIC'>;

/** What a stream of events yields. */
export type EventItem =
  /** Something happened; `event.payload.$case` says what. */
  | { readonly kind: 'event'; readonly event: Event }
  /** The module was too slow for some events: so many are lost, and why. */
  | { readonly kind: 'gap'; readonly gap: Gap }
  /** The stream broke and stands again; what was told meanwhile is lost, and nobody counted it. */
  | { readonly kind: 'interrupted' };

/** What a module wants to hear. */
export interface EventOptions {
  types?: readonly EventName[];
  /** Topics of modules, `<module>.<topic>`. */
  topics?: readonly string[];
  /** Ends the stream. */
  signal?: AbortSignal;
}

/** Numbers of the types on the wire. */
export function eventTypes(names: readonly EventName[]): EventType[] {
  return names.map((name) => EventType[name]);
}

/**
 * Subscribes to events without a chain cursor. Resolves when the subscription stands: from there on nothing is lost that
 * is not told.
 *
 * @throws ModhostError MISSING_PERMISSION, STREAM_EXISTS, FIELD_REQUIRED, …
 */
export function openEvents(
  link: SubscriptionLink,
  options: EventOptions,
  signal: AbortSignal,
): Promise<AsyncGenerator<EventItem, void, undefined>> {
  const { types = [], topics = [] } = options;
  return primed(items(link, { types: eventTypes(types), topics: [...topics] }, signal));
}

async function* items(
  link: SubscriptionLink,
  request: { types: EventType[]; topics: string[] },
  signal: AbortSignal,
): AsyncGenerator<EventItem | undefined, void, undefined> {
  let stood = false;
  for await (const { response, first } of keepSubscribed(link, () => request, signal)) {
    if (first) {
      yield stood ? { kind: 'interrupted' } : undefined;
      stood = true;
    }
    for (const gap of response.gaps) yield { kind: 'gap', gap };
    for (const event of response.events) yield { kind: 'event', event };
  }
}
