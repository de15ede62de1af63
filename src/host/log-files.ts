import { join } from 'node:path';
import { type LogLine, LogSource } from '../../gen/ts/modhost/admin/v1/admin.js';
import { type AuditEntry, AuditKind } from '../../gen/ts/modhost/admin/v1/audit.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { LogLevel } from '../../gen/ts/modhost/v1/log.js';
import { Permission } from '../../gen/ts/modhost/v1/permission.js';
import { enumName } from '../contract/enum-name.js';
import type { Clock } from '../core/clock.js';
import { createRotatingFile, type RotatingFile } from '../core/rotating-file.js';

/** Size of one file, bytes: half a minute of a module that writes as much as it may, weeks of an ordinary one. */
export const LOG_FILE_BYTES = 8 * 1024 * 1024;
/** Files that are kept of each module's log and of its audit, the one that grows included. */
export const LOG_FILES = 4;
/** Name of the files on the host itself; no module has it. */
const HOST_NAME = 'host';

/**
 * Logs and audit on the disk: of each module files of its own, so that one that floods moves nothing aside but what is its
 * own, and its log nothing of its audit.
 */
export interface LogFiles {
  line(line: LogLine): void;
  audit(entry: AuditEntry): void;
  /** Writes what waits; for the end of the host. */
  close(): Promise<void>;
}

/**
 * Makes the log files of a host: below `log` and `audit`, one JSON object a line.
 *
 * @param dir the host's own; at most LOG_FILES * LOG_FILE_BYTES for each module's log, and as much for its audit
 */
export function createLogFiles(dir: string, clock: Clock, fileBytes = LOG_FILE_BYTES): LogFiles {
  const files = new Map<string, RotatingFile>();
  const fileOf = (kind: 'log' | 'audit', module: string): RotatingFile => {
    const path = join(dir, kind, `${module === '' ? HOST_NAME : module}.jsonl`);
    const known = files.get(path);
    if (known !== undefined) return known;
    const file = createRotatingFile({
      path,
      maxBytes: fileBytes,
      files: LOG_FILES,
      tellLost: (count) =>
        text({ time: time(BigInt(clock.unixMs())), level: 'warn', msg: `${count} lines could not be written here` }),
    });
    files.set(path, file);
    return file;
  };
  return {
    line({ module, timeUnixMs, source, level, target, message, fields, moduleTimeUnixMs }) {
      fileOf('log', module).write(
        text({
          time: time(timeUnixMs),
          level: word(LogLevel, level),
          module,
          source: word(LogSource, source),
          msg: message,
          ...(target === '' ? {} : { target }),
          ...(fields.length === 0 ? {} : { fields: fields.map(({ key, value }) => [key, value]) }),
          ...(moduleTimeUnixMs === 0n ? {} : { module_time: Number(moduleTimeUnixMs) }),
        }),
      );
    },
    audit({ module, timeUnixMs, sequence, kind, instanceId, method, permissions, reason, count, message }) {
      fileOf('audit', module).write(
        text({
          time: time(timeUnixMs),
          sequence: Number(sequence),
          kind: word(AuditKind, kind),
          module,
          instance: instanceId,
          method,
          permissions: permissions.map((permission) => word(Permission, permission)),
          reason: reason === ErrorReason.UNSPECIFIED ? '' : (enumName(ErrorReason, reason) ?? ''),
          count: Number(count),
          message,
        }),
      );
    },
    async close() {
      await Promise.all([...files.values()].map((file) => file.close()));
    },
  };
}

const text = (value: object): string => JSON.stringify(value);
const time = (unixMs: bigint): string => new Date(Number(unixMs)).toISOString();
const word = (values: Readonly<Record<string, number | string>>, value: number): string =>
  (enumName(values, value) ?? '').toLowerCase();
