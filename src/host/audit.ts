import { type AuditEntry, AuditKind } from '../../gen/ts/modhost/admin/v1/audit.js';
import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';
import type { ErrorReason } from '../contract/error.js';
import { type Permission, permissionNumber } from '../contract/permission.js';
import type { Clock } from '../core/clock.js';
import { createFeed, type Feed } from '../core/feed.js';

/** Entries remembered: a busy day of denials, or weeks of a quiet host. */
export const AUDIT_ENTRIES = 10_000;
/** Equal entries within this time are folded into one. */
const FOLD_MS = 1_000;
/** Different entries that may be folding at a time; more are written at once. */
const MAX_FOLDING = 256;

/** What is worth an entry; the audit adds number and time. */
export interface AuditRecord {
  kind: keyof typeof AuditKind;
  moduleId?: string;
  instanceId?: string;
  method?: string;
  permissions?: readonly Permission[];
  reason?: ErrorReason;
  message?: string;
}

/** The host's memory of grants, denials and commands. */
export interface Audit {
  record(record: AuditRecord): void;
  readonly entries: Feed<AuditEntry>;
  /** Writes what is still being folded; for the end of the host. */
  flush(): void;
}

/**
 * Makes an audit; equal records of one second become one entry with their count, so that a flood stays readable.
 *
 * @param keep takes every entry as well, to keep it longer
 */
export function createAudit(clock: Clock, keep?: (entry: AuditEntry) => void): Audit {
  const entries = createFeed<AuditEntry>({
    ...{ maxItems: AUDIT_ENTRIES, maxWeight: AUDIT_ENTRIES, weigh: () => 1 },
    sourceOf: ({ module }) => module,
  });
  const folding = new Map<string, { entry: AuditEntry; timer: NodeJS.Timeout }>();
  let sequence = 0n;
  const write = (entry: AuditEntry): void => {
    sequence += 1n;
    const numbered = { ...entry, sequence };
    entries.push(numbered);
    keep?.(numbered);
  };
  return {
    entries,
    record(record) {
      const entry: AuditEntry = {
        sequence: 0n,
        timeUnixMs: BigInt(clock.unixMs()),
        kind: AuditKind[record.kind],
        module: record.moduleId ?? '',
        instanceId: record.instanceId ?? '',
        method: record.method ?? '',
        permissions: (record.permissions ?? []).map(permissionNumber),
        reason: record.reason === undefined ? ReasonNumber.UNSPECIFIED : ReasonNumber[record.reason],
        count: 1n,
        message: record.message ?? '',
      };
      const { kind, module, instanceId, method, reason, permissions, message } = entry;
      const key = [kind, module, instanceId, method, reason, permissions, message].join('\n');
      const open = folding.get(key);
      if (open !== undefined) {
        open.entry.count += 1n;
        return;
      }
      if (folding.size >= MAX_FOLDING) return write(entry);
      const timer = setTimeout(() => {
        folding.delete(key);
        write(entry);
      }, FOLD_MS);
      timer.unref();
      folding.set(key, { entry, timer });
    },
    flush() {
      for (const { entry, timer } of folding.values()) {
        clearTimeout(timer);
        write(entry);
      }
      folding.clear();
    },
  };
}
