import { blockHash, previousHashOf } from '../../src/core/bitcoin/header.js';
import { equalBytes, hashToDisplay } from '../../src/core/bytes.js';
import type { BlockPosition, NodeEvent, NodeListener } from '../../src/node/node-api.js';

/** A connect or disconnect, as far as the order of the chain goes. */
export type ChainStep = Extract<NodeEvent, { type: 'BlockConnected' | 'BlockDisconnected' }>;

/** Keeps what a node tells and checks the order of the chain as it comes. */
export interface Recorder {
  readonly listener: NodeListener;
  readonly events: readonly NodeEvent[];
  /** Breaches of the order: a connect that does not follow its parent, a disconnect of what is not the tip. */
  readonly breaches: readonly string[];
  /** Where the told connects and disconnects lead; undefined before the first. */
  tip(): BlockPosition | undefined;
  /** Events from position `mark` on. */
  since(mark: number): readonly NodeEvent[];
  /** Chain steps from position `mark` on. */
  steps(mark: number): ChainStep[];
  /** Waits until `look` gives a value; rejects after the settle time, saying what did not come. */
  until<T>(what: string, look: () => T | undefined): Promise<T>;
}

/** A recorder that waits at most `settleMs` milliseconds for what is due. */
export function createRecorder(settleMs: number): Recorder {
  const events: NodeEvent[] = [];
  const breaches: string[] = [];
  const watchers = new Set<() => void>();
  let tip: BlockPosition | undefined;

  const walk = (event: ChainStep): void => {
    const name = `${event.type} ${hashToDisplay(event.hash)} at ${event.height}`;
    if (!equalBytes(blockHash(event.header), event.hash)) breaches.push(`${name}: the header is another block's`);
    const parent = Uint8Array.from(previousHashOf(event.header));
    if (event.type === 'BlockConnected') {
      if (tip !== undefined && (!equalBytes(parent, tip.hash) || event.height !== tip.height + 1)) {
        breaches.push(`${name}: does not follow ${hashToDisplay(tip.hash)} at ${tip.height}`);
      }
      tip = { hash: event.hash, height: event.height };
    } else {
      if (tip !== undefined && (!equalBytes(event.hash, tip.hash) || event.height !== tip.height)) {
        breaches.push(`${name}: the tip is ${hashToDisplay(tip.hash)} at ${tip.height}`);
      }
      tip = { hash: parent, height: event.height - 1 };
    }
  };

  const steps = (mark: number): ChainStep[] =>
    events.slice(mark).filter((event): event is ChainStep => 'header' in event && event.type.startsWith('Block'));

  return {
    events,
    breaches,
    tip: () => tip,
    since: (mark) => events.slice(mark),
    steps,
    listener: (event) => {
      events.push(event);
      if (event.type === 'BlockConnected' || event.type === 'BlockDisconnected') walk(event);
      for (const watcher of [...watchers]) watcher();
    },
    until: <T>(what: string, look: () => T | undefined): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        const settle = (): boolean => {
          const found = look();
          if (found === undefined) return false;
          clearTimeout(late);
          watchers.delete(settle);
          resolve(found);
          return true;
        };
        const late = setTimeout(() => {
          watchers.delete(settle);
          const told = events.slice(-20).map((event) => describeEvent(event));
          reject(new Error(`${what}: did not come in ${settleMs} ms; last events: ${told.join(', ') || 'none'}`));
        }, settleMs);
        if (!settle()) watchers.add(settle);
      }),
  };
}

function describeEvent(event: NodeEvent): string {
  if ('height' in event && 'hash' in event)
    return `${event.type}(${event.height} ${hashToDisplay(event.hash).slice(0, 8)})`;
  if ('txid' in event) return `${event.type}(${hashToDisplay(event.txid).slice(0, 8)})`;
  return event.type;
}
