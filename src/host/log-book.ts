import { type LogLine, LogSource } from '../../gen/ts/modhost/admin/v1/admin.js';
import { LogLevel } from '../../gen/ts/modhost/v1/log.js';
import type { Clock } from '../core/clock.js';
import { createFeed, type Feed } from '../core/feed.js';
import type { LogFields, Logger } from '../core/logger.js';
import { printableBytes } from '../core/printable.js';
import type { Redactor } from '../core/redactor.js';
import { createTokenBucket } from '../core/token-bucket.js';
import type { LogLevelName, ModuleLogLine, ModuleLogSink } from '../services/log.js';

/** Lines remembered for `modhost logs`. */
export const LOG_LINES = 10_000;
/** Characters that the remembered lines may have together: a flood of longest lines must not fill the host's memory. */
const LOG_CHARS = 8 * 1024 * 1024;
/** Volume of one module's lines per second over all its ways to log, bytes. */
export const LOG_BYTES_PER_SECOND = 1024 * 1024;
/** Longest line, bytes; what is beyond is cut. */
export const MAX_LOG_LINE_BYTES = 8 * 1024;
/** Least price of a line, bytes: what its record costs around the text. A flood of empty lines must not be cheap. */
const LINE_PRICE = 256;
/** Longest name of the part of a module that speaks, bytes. */
const MAX_TARGET_BYTES = 256;
/** Longest name of a field, bytes. */
const MAX_FIELD_KEY_BYTES = 64;
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
  /** @param redactor takes the module's secrets out of its lines; default none */
  forModule(moduleId: string, bytesPerSecond: number, redactor?: Redactor): ModuleLog;
}

/**
 * Makes a log book that passes every line on to `logger`.
 *
 * @param write takes every line as well; then what modules write goes there alone, and `logger` gets the host's own words
 */
export function createLogBook(logger: Logger, clock: Clock, write?: (line: LogLine) => void): LogBook {
  const lines = createFeed<LogLine>({
    ...{ maxItems: LOG_LINES, maxWeight: LOG_CHARS, weigh: weighLine },
    sourceOf: ({ module }) => module,
  });
  const push = (said: Omit<LogLine, 'timeUnixMs'>): void => {
    const line = { ...said, timeUnixMs: BigInt(clock.unixMs()) };
    lines.push(line);
    write?.(line);
  };

  const forModule = (moduleId: string, bytesPerSecond: number, redactor?: Redactor): ModuleLog => {
    const redact = (text: string): string => {
      if (redactor === undefined) return text;
      // a line of the longest was cut by who read it, perhaps within a secret
      return text.length < MAX_LOG_LINE_BYTES / 2 ? redactor.redact(text) : redactor.redactCut(text);
    };
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
      push({ ...hostLine(moduleId, LogLevel.WARN, message), fields: [] });
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
          const size = line.fields.reduce(
            (bytes, [key, value]) => bytes + Buffer.byteLength(key) + Buffer.byteLength(value),
            Buffer.byteLength(line.message) + Buffer.byteLength(line.target),
          );
          if (bucket.take(Math.max(LINE_PRICE, Math.min(size, MAX_LOG_LINE_BYTES))) > 0) {
            dropped += 1n;
            untold += 1;
            timer ??= setTimeout(tellDropped, DROP_REPORT_MS).unref();
            return false;
          }
          const { message, target, fields } = bounded(line, redact);
          const { timeUnixMs: moduleTimeUnixMs } = line;
          const level = levelNumber(line.level);
          push({ module: moduleId, source: LogSource[way], level, message, target, fields, moduleTimeUnixMs });
          if (write !== undefined) return true;
          out[line.level](
            {
              way: way.toLowerCase(),
              ...(target === '' ? {} : { target }),
              ...(moduleTimeUnixMs === 0n ? {} : { moduleTimeUnixMs: Number(moduleTimeUnixMs) }),
              ...(fields.length === 0 ? {} : { fields: byName(fields) }),
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

/** A line of the host's own about a module or itself; its fields are the caller's. */
function hostLine(module: string, level: LogLevel, message: string) {
  return { module, source: LogSource.HOST, level, message, target: '', moduleTimeUnixMs: 0n };
}

/** A module's line with everything escaped; message, target and fields share one bound, in this order. */
function bounded(
  line: ModuleLogLine,
  redact: (text: string) => string,
): Pick<LogLine, 'message' | 'target' | 'fields'> {
  const message = printableBytes(redact(line.message), MAX_LOG_LINE_BYTES);
  let left = MAX_LOG_LINE_BYTES - Buffer.byteLength(message);
  const room = (text: string, maxBytes: number): string => {
    const kept = printableBytes(redact(text), Math.min(maxBytes, left));
    left = Math.max(0, left - Buffer.byteLength(kept));
    return kept;
  };
  const target = left === 0 ? '' : room(line.target, MAX_TARGET_BYTES);
  const fields: LogLine['fields'] = [];
  for (const [key, value] of line.fields) {
    if (left === 0) break;
    fields.push({ key: room(key, MAX_FIELD_KEY_BYTES), value: left === 0 ? '' : room(value, left) });
  }
  return { message, target, fields };
}

/** Fields as an object for the logger: prefixed, so that none can pass for a field of the host; equal names keep all values. */
function byName(fields: LogLine['fields']): Record<string, string | string[]> {
  const named: Record<string, string | string[]> = {};
  for (const { key, value } of fields) {
    const name = `x_${key}`;
    const before = named[name];
    named[name] = before === undefined ? value : [before, value].flat();
  }
  return named;
}

/** A logger whose lines go to the book as well; the module that a line is about is named by its field. */
function tee(logger: Logger, push: (line: Omit<LogLine, 'timeUnixMs'>) => void, module: string): Logger {
  const at =
    (level: LogLevelName) =>
    (fields: LogFields, message: string): void => {
      logger[level](fields, message);
      if (level === 'trace' || level === 'debug') return;
      const told = Object.entries(fields).filter(([key]) => key !== 'module');
      const about = typeof fields.module === 'string' ? fields.module : module;
      push({
        ...hostLine(about, levelNumber(level), printableBytes(message, MAX_LOG_LINE_BYTES)),
        fields: told.slice(0, 16).map(([key, value]) => ({ key, value: printableBytes(textOf(value), 1_024) })),
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

function weighLine({ message, target, fields }: LogLine): number {
  return fields.reduce((sum, { key, value }) => sum + key.length + value.length, message.length + target.length);
}
