import type { Socket } from 'node:net';
import type { Clock } from '../core/clock.js';
import type { TokenBucket } from '../core/token-bucket.js';
import type { Entry, Outcome } from './counters.js';
import type { NetworkLimits } from './limits.js';

/** Two connected sockets that allow half-open connections, and who counts what passes between them. */
export interface PipeOptions {
  /** The module's end. */
  readonly inside: Socket;
  readonly outside: Socket;
  readonly entry: Entry;
  /** The module's bytes per second. */
  readonly budget: TokenBucket;
  readonly limits: NetworkLimits;
  readonly clock: Clock;
  /** Breaks the connection. */
  readonly signal: AbortSignal;
}

/** Silence after which the kernel asks the far end whether it still lives, milliseconds. */
const KEEP_ALIVE_MS = 60_000;

/**
 * Carries bytes both ways until both ends are done. An end of data is passed on alone (half-close), a reset as a reset. What
 * waits in memory per direction is one read and the buffer of one socket: the faster side is not read until the slower has
 * taken what it has.
 */
export function pipe({ inside, outside, entry, budget, limits, clock, signal }: PipeOptions): Promise<Outcome> {
  return new Promise((resolve) => {
    let outcome: Outcome | undefined;
    let lastMs = clock.monotonicMs();
    let halfClosed = false;
    const waits = new Set<NodeJS.Timeout>();

    const breakOff = (why: Outcome): void => {
      outcome ??= why;
      for (const socket of [inside, outside]) if (!socket.destroyed) socket.resetAndDestroy();
    };
    const onAbort = (): void => breakOff('closed');
    const watchIdle = (): NodeJS.Timeout => {
      const limit = halfClosed ? limits.halfClosedTimeoutMs : limits.idleTimeoutMs;
      const left = lastMs + limit - clock.monotonicMs();
      return setTimeout(
        () => {
          if (clock.monotonicMs() - lastMs >= limit) breakOff('idle');
          else idle = watchIdle();
        },
        Math.max(1, left),
      );
    };
    let idle = watchIdle();

    const finish = (): void => {
      if (!inside.destroyed || !outside.destroyed) return;
      clearTimeout(idle);
      for (const wait of waits) clearTimeout(wait);
      signal.removeEventListener('abort', onAbort);
      resolve(outcome ?? 'ended');
    };

    const carry = (from: Socket, to: Socket, count: (bytes: number) => void): void => {
      let owing = 0;
      let full = false;
      const goOn = (): void => {
        if (owing > 0 || full || from.destroyed) return;
        from.resume();
      };
      const pay = (): void => {
        const waitMs = budget.take(owing);
        if (waitMs === 0) {
          owing = 0;
          goOn();
          return;
        }
        const wait = setTimeout(() => {
          waits.delete(wait);
          pay();
        }, waitMs);
        waits.add(wait);
      };
      from.on('data', (chunk: Buffer) => {
        lastMs = clock.monotonicMs();
        count(chunk.length);
        full = !to.destroyed && !to.write(chunk);
        owing = Math.max(chunk.length, limits.minReadCost);
        if (budget.take(owing) === 0) owing = 0;
        if (!full && owing === 0) return;
        from.pause();
        if (owing > 0) pay();
      });
      to.on('drain', () => {
        lastMs = clock.monotonicMs();
        full = false;
        goOn();
      });
      from.on('end', () => {
        halfClosed = true;
        lastMs = clock.monotonicMs();
        clearTimeout(idle);
        idle = watchIdle();
        if (!to.destroyed) to.end();
      });
      from.on('error', (error: NodeJS.ErrnoException) => {
        outcome ??= error.code ?? 'UNKNOWN';
      });
      from.on('close', (broken) => {
        if (!to.destroyed && (broken || !from.readableEnded)) to.resetAndDestroy();
        finish();
      });
    };

    outside.setKeepAlive(true, KEEP_ALIVE_MS);
    for (const socket of [inside, outside]) socket.setNoDelay(true);
    carry(inside, outside, entry.sent);
    carry(outside, inside, entry.received);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    // either may have ended before anybody listened
    if (inside.destroyed !== outside.destroyed) breakOff('ECONNRESET');
    inside.resume();
    outside.resume();
    finish();
  });
}
