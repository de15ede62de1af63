import type { Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';

/** Events that wait for one in-process reader; a program that embeds the host may be busy for a moment. */
export const MAX_LISTENER_QUEUE = 1_000;

/** An event with the name of its type, as an in-process reader gets it. */
export interface HeardEvent {
  readonly type: EventType;
  readonly event: Event;
  /** Events dropped for this reader before this one, since the one before it. */
  readonly missed: number;
}

/** What an in-process reader wants. */
export interface ListenOptions {
  /** Types to hear; undefined = all. */
  types?: ReadonlySet<EventType> | undefined;
  /** Ends the iteration. */
  signal?: AbortSignal | undefined;
  /** Events that may wait; what finds no room is dropped and told by `missed`. */
  maxQueued?: number | undefined;
}

/** The hub's end of an in-process reader. */
export interface ListenerInlet {
  readonly types: ReadonlySet<EventType> | undefined;
  offer(type: EventType, event: Event): void;
  end(): void;
}

/** Makes a reader: the hub pushes into the inlet, the program pulls from the iterable. */
export function createListener(
  options: ListenOptions,
  onEnd: () => void,
): { inlet: ListenerInlet; events: AsyncIterableIterator<HeardEvent> } {
  const max = options.maxQueued ?? MAX_LISTENER_QUEUE;
  const queue: HeardEvent[] = [];
  let missed = 0;
  let ended = false;
  let wake: (() => void) | undefined;

  const end = (): void => {
    if (ended) return;
    ended = true;
    options.signal?.removeEventListener('abort', end);
    onEnd();
    wake?.();
  };
  // not by end(): the owner does not have the inlet yet
  if (options.signal?.aborted) ended = true;
  else options.signal?.addEventListener('abort', end, { once: true });

  const events: AsyncIterableIterator<HeardEvent> = {
    [Symbol.asyncIterator]: () => events,
    async next() {
      for (;;) {
        const value = queue.shift();
        if (value !== undefined) return { done: false, value };
        if (ended) return { done: true, value: undefined };
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async return() {
      queue.length = 0;
      end();
      return { done: true, value: undefined };
    },
  };
  return {
    events,
    inlet: {
      types: options.types,
      offer(type, event) {
        if (ended) return;
        if (queue.length >= max) {
          missed += 1;
          return;
        }
        queue.push({ type, event, missed });
        missed = 0;
        wake?.();
      },
      end,
    },
  };
}
