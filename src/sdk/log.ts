import { LogLevel, type LogRecord, type LogServiceService, type WriteRequest } from '../../gen/ts/modhost/v1/log.js';
import type { Clock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import type { ServiceClient } from './call.js';

/** Records that wait for the host; a program that logs faster loses the newest, counted. */
const MAX_WAITING = 1_000;
/** Records in one message: with the longest line of 8 KiB under 1 MiB. */
const MAX_BATCH = 100;
/** Longest message of a record, characters; the host cuts lines at `Limits.max_log_line_bytes` anyway. */
const MAX_MESSAGE_CHARS = 8_192;
/** Wait before a log stream that broke is opened again, milliseconds. */
const REOPEN_MS = 1_000;
/** How long the last records may take at the end, milliseconds. */
const CLOSE_MS = 1_000;

/** Facts of one record; values become text. */
export type ModuleLogFields = Readonly<Record<string, unknown>>;

/** The module's log at the host. No method throws or waits; records on their way when a connection breaks are lost. */
export interface ModuleLog {
  trace(message: string, fields?: ModuleLogFields): void;
  debug(message: string, fields?: ModuleLogFields): void;
  info(message: string, fields?: ModuleLogFields): void;
  warn(message: string, fields?: ModuleLogFields): void;
  error(message: string, fields?: ModuleLogFields): void;
  /** A log for one part of the module, for example `wallet.sync`. */
  child(target: string): ModuleLog;
}

/** A log with its end. */
export interface OwnedModuleLog extends ModuleLog {
  /** Hands over what waits, for at most a second, and closes the stream. */
  close(): Promise<void>;
}

/** Makes the log over LogService; its stream opens with the first record. */
export function createModuleLog(logs: ServiceClient<typeof LogServiceService>, clock: Clock): OwnedModuleLog {
  const waiting: LogRecord[] = [];
  let lost = 0;
  let closing = false;
  let stream: Promise<void> | undefined;
  let stop = new AbortController();
  let wake: () => void = () => {};

  /** Batches for one stream; what the stream did not take goes back to the front. */
  async function* batches(ended: AbortSignal): AsyncGenerator<WriteRequest, void, undefined> {
    let handed: LogRecord[] = [];
    try {
      while (!ended.aborted) {
        if (waiting.length > 0) {
          handed = waiting.splice(0, MAX_BATCH);
          yield { records: handed };
          handed = [];
        } else if (closing) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      waiting.unshift(...handed);
    }
  }

  const open = (): void => {
    const mine = new AbortController();
    stop = mine;
    const pump = async (): Promise<void> => {
      try {
        await logs.write(batches(mine.signal), { signal: mine.signal });
      } catch {
        // nobody is there to complain to; stdout and stderr are captured by the host as well
        mine.abort();
        wake();
        if (!closing) await delay(REOPEN_MS);
      }
    };
    stream = pump().finally(() => {
      stream = undefined;
      if (waiting.length > 0 && !closing) open();
    });
  };

  const push = (level: LogLevel, target: string, message: string, fields: ModuleLogFields): void => {
    if (closing) return;
    if (waiting.length >= MAX_WAITING) {
      lost += 1;
      return;
    }
    if (lost > 0) {
      const text = `${lost} records were lost: the module logs faster than the host takes them`;
      lost = 0;
      waiting.push(record(LogLevel.WARN, target, text, {}));
    }
    waiting.push(record(level, target, message, fields));
    if (stream === undefined) open();
    else wake();
  };
  const record = (level: LogLevel, target: string, message: string, fields: ModuleLogFields): LogRecord => ({
    level,
    message: message.slice(0, MAX_MESSAGE_CHARS),
    target,
    timeUnixMs: BigInt(Math.max(0, Math.trunc(clock.unixMs()))),
    fields: Object.entries(fields).map(([key, value]) => ({ key, value: textOf(value) })),
  });
  const at = (target: string): ModuleLog => ({
    trace: (message, fields = {}) => push(LogLevel.TRACE, target, message, fields),
    debug: (message, fields = {}) => push(LogLevel.DEBUG, target, message, fields),
    info: (message, fields = {}) => push(LogLevel.INFO, target, message, fields),
    warn: (message, fields = {}) => push(LogLevel.WARN, target, message, fields),
    error: (message, fields = {}) => push(LogLevel.ERROR, target, message, fields),
    child: (name) => at(target === '' ? name : `${target}.${name}`),
  });

  return {
    ...at(''),
    async close() {
      closing = true;
      wake();
      const enough = new AbortController();
      await Promise.race([stream, delay(CLOSE_MS, enough.signal)]);
      enough.abort();
      stop.abort();
    },
  };
}

/** Text of a field's value; whatever it is, logging does not throw. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.message;
  try {
    return typeof value === 'object' ? (JSON.stringify(value) ?? '') : String(value);
  } catch {
    return '[unprintable]';
  }
}
