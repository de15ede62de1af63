/**
 * A bounded number of places that many share in turn: of each only one at a time, first come first served among its own,
 * and a place that becomes free goes to the one who has waited for longest. So no one can keep the others out, however
 * much it wants.
 */
export interface Turns {
  /** Runs `work` when it is the turn of `who`. */
  run<T>(who: string, work: () => Promise<T>): Promise<T>;
}

/** Makes the places. @param places how many run at once, over all */
export function createTurns(places: number): Turns {
  /** Who waits, in the order of their turns; who has a place is not among them. */
  const waiting = new Map<string, (() => void)[]>();
  const holding = new Map<string, (() => void)[]>();

  const next = (): void => {
    while (holding.size < places) {
      const [first] = waiting;
      if (first === undefined) return;
      const [who, queue] = first;
      waiting.delete(who);
      holding.set(who, queue);
      queue.shift()?.();
    }
  };
  const leave = (who: string): void => {
    const queue = holding.get(who) ?? [];
    holding.delete(who);
    // behind all others
    if (queue.length > 0) waiting.set(who, queue);
    next();
  };

  return {
    async run(who, work) {
      await new Promise<void>((resolve) => {
        const queue = holding.get(who) ?? waiting.get(who);
        if (queue !== undefined) queue.push(resolve);
        else waiting.set(who, [resolve]);
        next();
      });
      try {
        return await work();
      } finally {
        leave(who);
      }
    },
  };
}
