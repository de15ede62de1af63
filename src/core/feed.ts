/** Items kept for each follower that reads too slowly; older ones are lost and counted. */
const FOLLOWER_BACKLOG = 1_000;

/** A bounded memory of what happened last, and a way to follow what happens next. */
export interface Feed<T> {
  push(item: T): void;
  /** The last items, oldest first, at most `count` that pass the filter. */
  tail(count: number, filter: (item: T) => boolean): T[];
  /**
   * The last `tail` items that pass and everything from then on, without a hole between, in batches as the reader takes
   * them, until the signal aborts or the feed closes. `lost` counts what this reader missed because it was slow.
   */
  follow(
    filter: (item: T) => boolean,
    signal: AbortSignal,
    tail?: number,
  ): AsyncGenerator<{ items: T[]; lost: number }>;
  /** Ends every follower after what is queued for it. */
  close(): void;
}

/** Bounds of a feed's memory. */
export interface FeedBounds<T> {
  /** Items remembered at most. */
  maxItems: number;
  /** What they may weigh together, in the unit of `weigh`; the newest item is kept whatever it weighs. */
  maxWeight: number;
  weigh(item: T): number;
}

/** Forgotten items at the front of the array before it is copied: a push costs the same whether the memory is full or not. */
const STRIDE = 1_024;

/** Makes a feed that forgets the oldest items once there are too many, or they weigh too much. */
export function createFeed<T>({ maxItems, maxWeight, weigh }: FeedBounds<T>): Feed<T> {
  let kept: T[] = [];
  let oldest = 0;
  let weight = 0;
  let closed = false;
  const followers = new Set<{ offer(item: T): void; wake(): void }>();
  const last = (count: number, filter: (item: T) => boolean): T[] => {
    const found: T[] = [];
    for (let i = kept.length - 1; i >= oldest && found.length < count; i--) {
      const item = kept[i] as T;
      if (filter(item)) found.push(item);
    }
    return found.reverse();
  };
  return {
    push(item) {
      kept.push(item);
      weight += weigh(item);
      while (kept.length - oldest > 1 && (kept.length - oldest > maxItems || weight > maxWeight)) {
        weight -= weigh(kept[oldest] as T);
        // the place is emptied at once: what is forgotten must not be held by the array
        kept[oldest] = undefined as T;
        oldest += 1;
      }
      if (oldest >= STRIDE && oldest * 2 >= kept.length) {
        kept = kept.slice(oldest);
        oldest = 0;
      }
      for (const follower of followers) follower.offer(item);
    },
    tail: last,
    async *follow(filter, signal, tail = 0) {
      let backlog = last(tail, filter);
      let lost = 0;
      let wake: () => void = () => {};
      const follower = {
        offer(item: T): void {
          if (!filter(item)) return;
          if (backlog.length >= FOLLOWER_BACKLOG) {
            backlog.shift();
            lost += 1;
          }
          backlog.push(item);
          wake();
        },
        wake: () => wake(),
      };
      const onAbort = (): void => wake();
      followers.add(follower);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        while (!signal.aborted) {
          if (backlog.length > 0) {
            const items = backlog;
            backlog = [];
            yield { items, lost };
          } else if (closed) {
            return;
          } else {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      } finally {
        followers.delete(follower);
        signal.removeEventListener('abort', onAbort);
      }
    },
    close() {
      closed = true;
      for (const follower of followers) follower.wake();
    },
  };
}
