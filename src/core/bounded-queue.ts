/** Bounds of a queue. */
export interface QueueBounds {
  /** Items that it holds at most, at least 1. */
  maxItems: number;
  /** Bytes that its items may have together. */
  maxBytes: number;
}

/** What became of an item that was offered. */
export type OfferOutcome = 'queued' | 'full' | 'over-bytes';

/** What left a queue. */
export interface Removed {
  readonly items: number;
  readonly bytes: number;
}

/**
 * A first-in, first-out queue with room for a fixed number of items and bytes, made once and never grown.
 *
 *                 first             first + size
 *                   v                    v
 *   slots   | . | . | a | b | c | d | e | . | . | .     both ends wrap round at the end of the ring; an item that
 *                                                       finds no room is refused, nothing is overwritten
 */
export interface BoundedQueue<T> {
  readonly size: number;
  /** Bytes of all items inside. */
  readonly bytes: number;
  /** Puts an item at the end, or says which bound is in the way. */
  offer(item: T, bytes: number): OfferOutcome;
  /** The oldest item, or undefined; it stays. */
  peek(): T | undefined;
  /** Takes the oldest item out, or answers undefined. */
  take(): { readonly item: T; readonly bytes: number } | undefined;
  /** Empties the queue; answers how much it was. */
  clear(): Removed;
}

/** Makes an empty queue. */
export function createBoundedQueue<T>(bounds: QueueBounds): BoundedQueue<T> {
  const slots: ({ item: T; bytes: number } | undefined)[] = new Array(bounds.maxItems).fill(undefined);
  let first = 0;
  let size = 0;
  let bytes = 0;
  return {
    get size() {
      return size;
    },
    get bytes() {
      return bytes;
    },
    offer(item, itemBytes) {
      if (size >= bounds.maxItems) return 'full';
      if (bytes + itemBytes > bounds.maxBytes) return 'over-bytes';
      slots[(first + size) % bounds.maxItems] = { item, bytes: itemBytes };
      size += 1;
      bytes += itemBytes;
      return 'queued';
    },
    peek: () => slots[first]?.item,
    take() {
      const slot = slots[first];
      if (slot === undefined) return undefined;
      slots[first] = undefined;
      first = (first + 1) % bounds.maxItems;
      size -= 1;
      bytes -= slot.bytes;
      return slot;
    },
    clear() {
      const removed = { items: size, bytes };
      slots.fill(undefined);
      first = 0;
      size = 0;
      bytes = 0;
      return removed;
    },
  };
}
