import { createSharedMemory, type MemoryBounds } from './shared-memory.js';

/** Items kept for each follower that reads too slowly, beside its tail; older ones are lost and counted. */
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

/**
 * Makes a feed that forgets items once there are too many, or they weigh too much: the oldest of the source that holds most,
 * so that none pushes out what others have said, neither in the memory nor for a slow reader.
 */
export function createFeed<T>(bounds: MemoryBounds<T>): Feed<T> {
  const kept = createSharedMemory(bounds);
  let closed = false;
  const followers = new Set<{ offer(item: T): void; wake(): void }>();
  return {
    push(item) {
      kept.push(item);
      for (const follower of followers) follower.offer(item);
    },
    tail: kept.tail,
    async *follow(filter, signal, tail = 0) {
      const waiting = { ...bounds, maxItems: FOLLOWER_BACKLOG, maxWeight: Number.POSITIVE_INFINITY };
      let tailItems = kept.tail(tail, filter);
      let backlog = createSharedMemory(waiting);
      let lost = 0;
      let wake: () => void = () => {};
      const follower = {
        offer(item: T): void {
          if (!filter(item)) return;
          lost += backlog.push(item);
          wake();
        },
        wake: () => wake(),
      };
      const onAbort = (): void => wake();
      followers.add(follower);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        while (!signal.aborted) {
          if (tailItems.length + backlog.size > 0) {
            const items = [...tailItems, ...backlog.tail(FOLLOWER_BACKLOG, () => true)];
            tailItems = [];
            backlog = createSharedMemory(waiting);
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
