import { join } from 'node:path';
import type { DirectoryUsage } from '../../../gen/ts/modhost/v1/filesystem.js';
import type { Clock } from '../../core/clock.js';
import { createLedger, type Ledger, type TreeMeter } from './ledger.js';
import type { QuotaBook } from './quota-book.js';

/** Room that one write holds while it is in flight, in the module's total and in its directory's own quota. */
export interface Room {
  /** Makes the room as large as this. @throws HostError QUOTA_EXCEEDED: it stays as it was */
  reach(bytes: number): Promise<void>;
  /** Gives the room back. */
  leave(): void;
}

/** What a module's data directory holds, by the whole and by directories with a quota. */
export interface Usage {
  /** Bytes on disk of the whole, measured now. */
  total(signal: AbortSignal): Promise<number>;
  /** The directories with a quota, measured now. */
  directories(signal: AbortSignal): Promise<DirectoryUsage[]>;
  /**
   * Begins a write below a top-level directory, or directly in the data directory.
   *
   * @param totalBytes the module's total
   */
  begin(top: string | undefined, totalBytes: number, signal: AbortSignal): Room;
  /** Corrects what is known by what has just been made, replaced or removed below a top-level directory. */
  correct(top: string | undefined, bytes: number): void;
  close(): Promise<void>;
}

/** What measuring a module's directory needs. */
export interface UsageParts {
  root: string;
  meter(root: string): TreeMeter;
  quotas: QuotaBook;
  clock: Clock;
}

/** Makes the account of one module. */
export function createUsage({ root, meter, quotas, clock }: UsageParts): Usage {
  const whole = createLedger(meter(root), clock);
  const tops = new Map<string, Ledger>();

  const ledgerOf = (top: string | undefined): Ledger | undefined => {
    if (top === undefined || quotas.of(top) === undefined) return undefined;
    const ledger = tops.get(top) ?? createLedger(meter(join(root, top)), clock);
    tops.set(top, ledger);
    return ledger;
  };

  /** Ledgers of directories whose quota was taken away measure nothing any more. */
  const sweep = (): void => {
    for (const [top, ledger] of tops) {
      if (quotas.of(top) !== undefined) continue;
      tops.delete(top);
      void ledger.close();
    }
  };

  return {
    total: (signal) => whole.measure(signal),
    async directories(signal) {
      sweep();
      const found: DirectoryUsage[] = [];
      // one after the other: a module's account keeps one walk busy, not sixty-four
      for (const path of quotas.names()) {
        const quotaBytes = quotas.of(path);
        const usedBytes = await ledgerOf(path)?.measure(signal);
        if (usedBytes === undefined || quotaBytes === undefined) continue;
        found.push({ path, usedBytes: wire(usedBytes), quotaBytes: BigInt(quotaBytes) });
      }
      return found;
    },
    begin(top, totalBytes, signal) {
      sweep();
      const own = ledgerOf(top);
      let held = 0;
      return {
        async reach(bytes) {
          const more = bytes - held;
          if (more <= 0) return;
          await whole.take(more, totalBytes, signal);
          try {
            await own?.take(more, (top === undefined ? undefined : quotas.of(top)) ?? totalBytes, signal);
          } catch (error) {
            whole.give(more);
            throw error;
          }
          held += more;
        },
        leave() {
          whole.give(held);
          own?.give(held);
          held = 0;
        },
      };
    },
    correct(top, bytes) {
      whole.correct(bytes);
      ledgerOf(top)?.correct(bytes);
    },
    async close() {
      await Promise.all([whole, ...tops.values()].map((ledger) => ledger.close()));
    },
  };
}

/** Bytes as the wire has them; corrections may run ahead of a measurement by a little. */
export function wire(bytes: number): bigint {
  return BigInt(Math.max(0, Math.round(bytes)));
}
