/**
 * Fetches one thing per item and gives the results in the items' order, with a few fetches under way ahead of the
 * reader: a slow reader slows the fetching, and memory holds at most `ahead` results nobody has asked for yet.
 *
 * Ends all fetches when the reader stops, when one fails, or when the signal fires.
 *
 * @param ahead fetches under way besides the one that the reader waits for, from 0
 */
export async function* fetchAhead<I, O>(
  items: Iterable<I>,
  ahead: number,
  signal: AbortSignal,
  fetch: (item: I, signal: AbortSignal) => Promise<O>,
): AsyncGenerator<O, void, undefined> {
  const inner = new AbortController();
  // A listener that is taken off again; AbortSignal.any keeps its result alive as long as the outer signal lives.
  const stop = (): void => inner.abort(signal.reason);
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  const underWay: Promise<O>[] = [];
  try {
    for (const item of items) {
      const fetched = fetch(item, inner.signal);
      // Its failure is told when its turn comes; until then it must not count as unhandled.
      fetched.catch(() => {});
      underWay.push(fetched);
      if (underWay.length > ahead) yield (await underWay.shift()) as O;
    }
    for (const fetched of underWay) yield await fetched;
  } finally {
    signal.removeEventListener('abort', stop);
    inner.abort();
  }
}
