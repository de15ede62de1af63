/** Bounds of a queue. */
export interface QueueBounds {
  /** Items that it holds at most, at least 1. */
  maxItems: number;
  /** Bytes that its items may have together. */
  maxBytes: number;
}

/** What became of an item that was offered. */
export type OfferOutcome = 'queued' | 'full' | 'over-bytes';

/**
 * A first-in, first-out queue with room for a fixed number of items and bytes, made once and never grown.
 *
 *                 first             first + size
 *                   v                    v
 *   slots   | . | . | a | b | c | d | e | . | . | .        wraps round at the end; pushing into a full ring
 *                   `---+---'                              is refused, nothing is overwritten
 *                     taken: lent to a reader, still counted until `settle`
 *
 * An item that was taken keeps its place in count and bytes until the reader settles it, so that what a reader holds
 * and what waits for it stay under one bound.
 */
export interface BoundedQueue<T> {
  /** Items inside, taken ones included. */
  readonly size: number;
  /** Bytes inside, taken ones included. */
  readonly bytes: number;
  /** Items that wait to be taken. */
  readonly waiting: number;
  /** Puts an item at the end, or says which bound is in the way. */
  offer(item: T, bytes: number): OfferOutcome;
  /** The next item that waits, or undefined; it stays. */
  peek(): T | undefined;
  /** The next item that waits, lent to the reader, or undefined. */
  take(): T | undefined;
  /** Lets go of everything taken; answers how much it was. */
  settle(): { items: number; bytes: number };
  /** Empties the queue, taken items included; answers how much it was. */
  clear(): { items: number; bytes: number };
}

interface Slot<T> {
  item: T;
  bytes: number;
}

/** Makes an empty queue. */
export function createBoundedQueue<T>(bounds: QueueBounds): BoundedQueue<T> {
  const slots: (Slot<T> | undefined)[] = new Array(bounds.maxItems).fill(undefined);
  let first = 0;
  let size = 0;
  let taken = 0;
  let bytes = 0;

  const release = (count: number): { items: number; bytes: number } => {
    let released = 0;
    for (let i = 0; i < count; i++) {
      released += slots[first]?.bytes ?? 0;
      slots[first] = undefined;
      first = (first + 1) % bounds.maxItems;
    }
    size -= count;
    bytes -= released;
    taken = 0;
    return { items: count, bytes: released };
  };

  return {
    get size() {
      return size;
    },
    get bytes() {
      return bytes;
    },
    get waiting() {
      return size - taken;
    },
    offer(item, itemBytes) {
      if (size >= bounds.maxItems) return 'full';
      if (bytes + itemBytes > bounds.maxBytes) return 'over-bytes';
      slots[(first + size) % bounds.maxItems] = { item, bytes: itemBytes };
      size += 1;
      bytes += itemBytes;
      return 'queued';
    },
    peek() {
      return taken < size ? slots[(first + taken) % bounds.maxItems]?.item : undefined;
    },
    take() {
      if (taken >= size) return undefined;
      const slot = slots[(first + taken) % bounds.maxItems];
      taken += 1;
      return slot?.item;
    },
    settle: () => release(taken),
    clear: () => release(size),
  };
}
