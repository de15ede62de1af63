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

/** Makes a feed that remembers `capacity` items. */
export function createFeed<T>(capacity: number): Feed<T> {
  let kept: T[] = [];
  let closed = false;
  const followers = new Set<{ offer(item: T): void; wake(): void }>();
  const last = (count: number, filter: (item: T) => boolean): T[] => {
    const found: T[] = [];
    for (let i = kept.length - 1; i >= Math.max(0, kept.length - capacity) && found.length < count; i--) {
      const item = kept[i] as T;
      if (filter(item)) found.push(item);
    }
    return found.reverse();
  };
  return {
    push(item) {
      kept.push(item);
      // trimmed in strides, so that a push costs the same whether the memory is full or not
      if (kept.length >= capacity * 2) kept = kept.slice(-capacity);
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
