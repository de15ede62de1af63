/** A bounded number of places, and a bounded queue before them. */
export interface Places {
  /** Runs the work when a place is free; undefined, without running it, when the queue is full. */
  run<T>(work: () => Promise<T>): Promise<T | undefined>;
}

/** Makes `size` places with room for `waiting` more in line, first come first served. */
export function createPlaces(size: number, waiting: number): Places {
  const line: (() => void)[] = [];
  let taken = 0;
  return {
    async run(work) {
      if (taken >= size) {
        if (line.length >= waiting) return undefined;
        // whoever leaves hands its place over, so nobody can slip in between
        await new Promise<void>((resolve) => line.push(resolve));
      } else {
        taken += 1;
      }
      try {
        return await work();
      } finally {
        const next = line.shift();
        if (next === undefined) taken -= 1;
        else next();
      }
    },
  };
}
