import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';

/** A measurement counts as the present for this long at least, milliseconds: small trees are measured at most so often. */
const FRESH_MS = 1_000;
/** A measurement counts as the present for this many times the time it took: measuring costs a tenth of one thread at most. */
const FRESH_PER_WALK = 10;
/** A tree whose measurement takes longer is measured anew beside the writes, not before them, milliseconds. */
const PATIENCE_MS = 1_000;
/** Before a write is refused the tree is measured again, but not sooner than this many times the time it took. */
const RECHECK_PER_WALK = 3;

/** Measures the size of a tree, a bounded piece at a time. It may be hostile: no link is followed. */
export interface TreeMeter {
  /** Goes on; true when a walk has ended. */
  step(enough: number): Promise<boolean>;
  /** Bytes on disk as the last walk found them. */
  bytes(): number;
  close(): Promise<void>;
}

/** What one tree holds and may still take: measured, corrected by what was written through the host since, plus writes in flight. */
export interface Ledger {
  /** Measures; the answer holds whatever was there when it was called. */
  measure(signal: AbortSignal): Promise<number>;
  /** Takes room for a write in flight. @throws HostError QUOTA_EXCEEDED */
  take(bytes: number, quotaBytes: number, signal: AbortSignal): Promise<void>;
  /** Gives room of a write in flight back. */
  give(bytes: number): void;
  /** Corrects the measured size by what has just been made, replaced or removed. */
  correct(bytes: number): void;
  close(): Promise<void>;
}

/** Makes the ledger of one tree; nothing is measured before it is asked. */
export function createLedger(meter: TreeMeter, clock: Clock): Ledger {
  let measured: { bytes: number; atMs: number; tookMs: number } | undefined;
  /** Since the last measurement. */
  let changed = 0;
  /** Since the walk under way began: it may have come past before, so growth is counted in any case and shrinking is not. */
  let changedMeanwhile = 0;
  let inFlight = 0;
  let isClosed = false;
  let walk: Promise<void> | undefined;
  let nextWalk: Promise<void> | undefined;

  const walkOnce = async (): Promise<void> => {
    const startMs = clock.monotonicMs();
    changedMeanwhile = 0;
    try {
      while (!isClosed && !(await meter.step(Number.MAX_SAFE_INTEGER)));
      measured = { bytes: meter.bytes(), atMs: clock.monotonicMs(), tookMs: clock.monotonicMs() - startMs };
      changed = changedMeanwhile;
    } finally {
      walk = undefined;
    }
  };

  /** A walk that begins after this call: one that is under way may be past what matters, so it is waited for. */
  const refresh = (): Promise<void> => {
    if (nextWalk !== undefined) return nextWalk;
    if (walk === undefined) {
      walk = walkOnce();
      return walk;
    }
    const begin = (): Promise<void> => {
      nextWalk = undefined;
      walk = walkOnce();
      return walk;
    };
    nextWalk = walk.then(begin, begin);
    return nextWalk;
  };

  const refreshed = async (signal: AbortSignal): Promise<void> => {
    const walked = refresh();
    walked.catch(() => {});
    await untilAborted(walked, signal);
  };

  const fits = (bytes: number, quotaBytes: number): boolean =>
    measured !== undefined && measured.bytes + changed + inFlight + bytes <= quotaBytes;
  const ageMs = (): number => (measured === undefined ? Infinity : clock.monotonicMs() - measured.atMs);

  return {
    async measure(signal) {
      await refreshed(signal);
      return (measured?.bytes ?? 0) + changed;
    },
    async take(bytes, quotaBytes, signal) {
      const tookMs = measured?.tookMs ?? 0;
      if (ageMs() > Math.max(FRESH_MS, tookMs * FRESH_PER_WALK)) {
        if (measured === undefined || tookMs <= PATIENCE_MS) await refreshed(signal);
        else if (walk === undefined) refresh().catch(() => {});
      }
      if (!fits(bytes, quotaBytes) && ageMs() > tookMs * RECHECK_PER_WALK) await refreshed(signal);
      if (!fits(bytes, quotaBytes)) {
        throw new HostError('QUOTA_EXCEEDED', `it may hold ${quotaBytes} bytes on disk; delete something`, {
          details: { quotaBytes, usedBytes: (measured?.bytes ?? 0) + changed + inFlight },
        });
      }
      inFlight += bytes;
    },
    give(bytes) {
      inFlight -= bytes;
    },
    correct(bytes) {
      changed += bytes;
      if (bytes > 0) changedMeanwhile += bytes;
    },
    async close() {
      isClosed = true;
      await walk?.catch(() => {});
      await meter.close();
    },
  };
}

async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  let stop = (): void => {};
  try {
    await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        stop = () => reject(signal.reason as Error);
        signal.addEventListener('abort', stop, { once: true });
      }),
    ]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
