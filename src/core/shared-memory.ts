/** What happened last, of many sources in one bounded room: whoever fills it pushes out what is its own. */
export interface SharedMemory<T> {
  /** Takes an item; answers how many it pushed out. */
  push(item: T): number;
  /** The last items, oldest first, at most `count` that pass the filter. */
  tail(count: number, filter: (item: T) => boolean): T[];
  readonly size: number;
}

/** Bounds of a memory. */
export interface MemoryBounds<T> {
  /** Items remembered at most. */
  readonly maxItems: number;
  /** What they may weigh together, in the unit of `weigh`; the newest item is kept whatever it weighs. */
  readonly maxWeight: number;
  weigh(item: T): number;
  /** Source of an item, for example the name of a module; default one source for all. */
  sourceOf?(item: T): string;
}

/** Forgotten items at the front of an array before it is copied: a push costs the same whether the memory is full or not. */
const STRIDE = 1_024;

/** Items of one source; those before `oldest` are forgotten. */
interface Share<T> {
  items: { readonly sequence: number; readonly item: T }[];
  oldest: number;
  weight: number;
}

/** Makes a memory that, once it is full, forgets the oldest item of the source that holds most of it. */
export function createSharedMemory<T>(bounds: MemoryBounds<T>): SharedMemory<T> {
  const { maxItems, maxWeight, weigh, sourceOf = () => '' } = bounds;
  const shares = new Map<string, Share<T>>();
  let sequence = 0;
  let size = 0;
  let weight = 0;

  const lengthOf = ({ items, oldest }: Share<T>): number => items.length - oldest;
  const partOf = (share: Share<T>): number => Math.max(lengthOf(share) / maxItems, share.weight / maxWeight);

  /** The one to take from; never the newest item, which is the last one of its source. */
  const largest = (newest: Share<T>): [string, Share<T>] | undefined => {
    let found: [string, Share<T>] | undefined;
    let most = 0;
    for (const entry of shares) {
      const [, share] = entry;
      const part = partOf(share);
      if (part > most && (share !== newest || lengthOf(share) > 1)) {
        found = entry;
        most = part;
      }
    }
    return found;
  };

  const forgetOne = (newest: Share<T>): boolean => {
    const found = largest(newest);
    if (found === undefined) return false;
    const [source, share] = found;
    const forgotten = weigh((share.items[share.oldest] as Share<T>['items'][number]).item);
    // the place is emptied at once: what is forgotten must not be held by the array
    share.items[share.oldest] = undefined as never;
    share.oldest += 1;
    share.weight -= forgotten;
    weight -= forgotten;
    size -= 1;
    if (lengthOf(share) === 0) shares.delete(source);
    else if (share.oldest >= STRIDE && share.oldest * 2 >= share.items.length) {
      share.items = share.items.slice(share.oldest);
      share.oldest = 0;
    }
    return true;
  };

  return {
    push(item) {
      const source = sourceOf(item);
      const share = shares.get(source) ?? { items: [], oldest: 0, weight: 0 };
      shares.set(source, share);
      sequence += 1;
      share.items.push({ sequence, item });
      const added = weigh(item);
      share.weight += added;
      weight += added;
      size += 1;
      let forgotten = 0;
      while ((size > maxItems || weight > maxWeight) && forgetOne(share)) forgotten += 1;
      return forgotten;
    },
    tail(count, filter) {
      const found: Share<T>['items'] = [];
      for (const { items, oldest } of shares.values()) {
        let taken = 0;
        for (let i = items.length - 1; i >= oldest && taken < count; i--) {
          const kept = items[i] as Share<T>['items'][number];
          if (!filter(kept.item)) continue;
          found.push(kept);
          taken += 1;
        }
      }
      found.sort((a, b) => a.sequence - b.sequence);
      return found.slice(Math.max(0, found.length - count)).map(({ item }) => item);
    },
    get size() {
      return size;
    },
  };
}
