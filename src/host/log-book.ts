import { type LogLine, LogSource } from '../../gen/ts/modhost/admin/v1/admin.js';
import { LogLevel } from '../../gen/ts/modhost/v1/log.js';
import type { Clock } from '../core/clock.js';
import { createFeed, type Feed } from '../core/feed.js';
import type { LogFields, Logger } from '../core/logger.js';
import { printableLine } from '../core/printable.js';
import { createTokenBucket } from '../core/token-bucket.js';
import type { LogLevelName, ModuleLogSink } from '../services/log.js';

/** Lines remembered for `modhost logs`. */
export const LOG_LINES = 10_000;
/** Volume of one module's lines per second over all its ways to log, bytes. */
export const LOG_BYTES_PER_SECOND = 1024 * 1024;
/** Longest line, bytes; what is beyond is cut. */
export const MAX_LOG_LINE_BYTES = 8 * 1024;
/** While lines are being dropped, how often the count is told. */
const DROP_REPORT_MS = 1_000;
/** Name under which the host's own lines stand. */
export const HOST_LOG_NAME = 'host';

/** Ways by which a line of a module arrives. */
export type ModuleLogWay = 'RECORD' | 'STDOUT' | 'STDERR';

/** The log of one module: one budget over all its ways. */
export interface ModuleLog {
  sink(way: ModuleLogWay): ModuleLogSink;
  /** Lines dropped so far because the volume was over the limit. */
  dropped(): bigint;
  close(): void;
}

/** Lines of host and modules: remembered for a while, followed by who wants to, written to the host's logger. */
export interface LogBook {
  readonly lines: Feed<LogLine>;
  /** The host's own logger; its lines are in the book as well. */
  readonly host: Logger;
  forModule(moduleId: string, bytesPerSecond: number): ModuleLog;
}

/** Makes a log book that passes every line on to `logger`. */
export function createLogBook(logger: Logger, clock: Clock): LogBook {
  const lines = createFeed<LogLine>(LOG_LINES);
  const push = (line: Omit<LogLine, 'timeUnixMs'>): void => lines.push({ ...line, timeUnixMs: BigInt(clock.unixMs()) });

  const forModule = (moduleId: string, bytesPerSecond: number): ModuleLog => {
    const bucket = createTokenBucket({ ratePerSecond: bytesPerSecond, burst: bytesPerSecond }, clock);
    const out = logger.child({ module: moduleId });
    let dropped = 0n;
    let untold = 0;
    let timer: NodeJS.Timeout | undefined;
    const tellDropped = (): void => {
      timer = undefined;
      if (untold === 0) return;
      const message = `${untold} lines dropped: over ${bytesPerSecond} bytes per second`;
      untold = 0;
      push({ module: moduleId, source: LogSource.HOST, level: LogLevel.WARN, message, target: '', fields: [] });
      out.warn({}, message);
    };
    return {
      dropped: () => dropped,
      close() {
        clearTimeout(timer);
        tellDropped();
      },
      sink: (way) => ({
        write(line) {
          const size =
            line.message.length + line.target.length + line.fields.reduce((n, [k, v]) => n + k.length + v.length, 0);
          if (bucket.take(Math.min(size, MAX_LOG_LINE_BYTES) + 1) > 0) {
            dropped += 1n;
            untold += 1;
            timer ??= setTimeout(tellDropped, DROP_REPORT_MS).unref();
            return false;
          }
          const message = printableLine(line.message, MAX_LOG_LINE_BYTES);
          const target = printableLine(line.target, 256);
          let left = Math.max(0, MAX_LOG_LINE_BYTES - message.length - target.length);
          const fields = line.fields.flatMap(([key, value]) => {
            if (left <= 0) return [];
            const field = { key: printableLine(key, 64), value: printableLine(value, left) };
            left -= field.key.length + field.value.length;
            return [field];
          });
          push({ module: moduleId, source: LogSource[way], level: levelNumber(line.level), message, target, fields });
          out[line.level](
            {
              way: way.toLowerCase(),
              ...(target === '' ? {} : { target }),
              ...(fields.length === 0
                ? {}
                : { fields: Object.fromEntries(fields.map(({ key, value }) => [`x_${key}`, value])) }),
            },
            message,
          );
          return true;
        },
      }),
    };
  };

  return { lines, host: tee(logger, push, HOST_LOG_NAME), forModule };
}

/** A logger whose lines go to the book as well; the module that a line is about is named by its field. */
function tee(logger: Logger, push: (line: Omit<LogLine, 'timeUnixMs'>) => void, module: string): Logger {
  const at =
    (level: LogLevelName) =>
    (fields: LogFields, message: string): void => {
      logger[level](fields, message);
      if (level === 'trace' || level === 'debug') return;
      const told = Object.entries(fields).filter(([key]) => key !== 'module');
      push({
        module: typeof fields.module === 'string' ? fields.module : module,
        source: LogSource.HOST,
        level: levelNumber(level),
        message: printableLine(message, MAX_LOG_LINE_BYTES),
        target: '',
        fields: told.slice(0, 16).map(([key, value]) => ({ key, value: printableLine(textOf(value), 1_024) })),
      });
    };
  return {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => tee(logger.child(fields), push, typeof fields.module === 'string' ? fields.module : module),
  };
}

function textOf(value: unknown): string {
  if (value instanceof Error) return value.message;
  return typeof value === 'string' ? value : (JSON.stringify(value, bigintsAsText) ?? String(value));
}

function bigintsAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

function levelNumber(level: LogLevelName): LogLevel {
  switch (level) {
    case 'trace':
      return LogLevel.TRACE;
    case 'debug':
      return LogLevel.DEBUG;
    case 'warn':
      return LogLevel.WARN;
    case 'error':
      return LogLevel.ERROR;
    default:
      return LogLevel.INFO;
  }
}
