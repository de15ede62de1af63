import type { Readable, Writable } from 'node:stream';
import { GO } from '../sandbox/gate.js';

/** The host's ends of a start gate. */
export interface GateEnds {
  readonly ready: Readable;
  readonly go: Writable;
}

/**
 * Waits until the chain has told that everything around the program stands.
 *
 * @param ended aborts when the chain is gone
 * @returns     false when it ended before
 */
export function awaitReady({ ready }: GateEnds, ended: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (isReady: boolean): void => {
      ended.removeEventListener('abort', onEnd);
      resolve(isReady);
    };
    const onEnd = (): void => done(false);
    if (ended.aborted) return done(false);
    ended.addEventListener('abort', onEnd, { once: true });
    ready.once('data', () => done(true));
    ready.once('end', onEnd);
  });
}

/** Lets the program run. */
export function openGate({ go }: GateEnds): void {
  go.end(GO);
}

/** Gives the host's ends up: a chain that still waits reads the end of file, and its program never runs. */
export function abandonGate({ ready, go }: GateEnds): void {
  ready.destroy();
  go.destroy();
}
