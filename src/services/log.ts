import { LogLevel, type LogRecord, type LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import type { ServiceImpl } from '../contract/service.js';
import { type Clock, createSystemClock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import { createPace, type Pace } from '../core/pace.js';
import { cutBytes } from '../core/printable.js';
import { createTokenBucket } from '../core/token-bucket.js';

/** Fields of one record that are kept. */
const MAX_FIELDS = 64;
/** Longest name of a field, bytes; a longer one is cut. */
const MAX_KEY_BYTES = 64;
/**
 * What the host reads of one module's records at most, bytes per second: twice what it writes down. Past it the
 * module's streams wait, for what is only read in order to be dropped costs the host's time too.
 */
const READ_BYTES_PER_SECOND = 2 * 1024 * 1024;
/** What it reads of them at once, bytes: about a hundred records, which keep the loop for some milliseconds. */
const READ_BURST = 32 * 1024;
/** Least price of a record, bytes: what it costs to look at one. */
const RECORD_PRICE = 256;
/** Records that are handled at once, about a millisecond of work: what comes in a message can be a thousand. */
const RECORDS_AT_ONCE = 32;

/** Levels by the names that loggers use. */
export type LogLevelName = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** One line on its way into the log, as the module gave it: escaping and bounds are the sink's work. */
export interface ModuleLogLine {
  level: LogLevelName;
  message: string;
  target: string;
  /** Unix milliseconds by the module's clock; 0 = now. */
  timeUnixMs: bigint;
  fields: readonly (readonly [string, string])[];
}

/** Takes the lines of one module; shared with its captured stdout and stderr, so that one budget bounds all. */
export interface ModuleLogSink {
  /** False when the line was dropped because the module's volume is over its limit. */
  write(line: ModuleLogLine): boolean;
}

/**
 * Answers LogService for one spawn; all its streams share one rate and one pace.
 *
 * @param pace of the session, which its other work on the loop shares; default one for its records alone
 */
export function createLogService(
  sink: ModuleLogSink,
  clock: Clock = createSystemClock(),
  pace: Pace = createPace(),
): ServiceImpl<typeof LogServiceService> {
  const reading = createTokenBucket({ ratePerSecond: READ_BYTES_PER_SECOND, burst: READ_BURST }, clock);
  const afford = async (records: readonly LogRecord[], signal: AbortSignal): Promise<void> => {
    let owed = records.reduce((sum, { message }) => sum + message.length + RECORD_PRICE, 0);
    while (owed > 0 && !signal.aborted) {
      const waitMs = reading.take(Math.min(owed, READ_BURST));
      if (waitMs > 0) await delay(waitMs, signal);
      else owed -= READ_BURST;
    }
  };
  return {
    async write(requests, { signal }) {
      let accepted = 0n;
      let dropped = 0n;
      const hear = (some: readonly LogRecord[]): void => {
        for (const record of some) {
          if (sink.write(lineOf(record))) accepted += 1n;
          else dropped += 1n;
        }
      };
      for await (const { records } of requests) {
        for (let start = 0; start < records.length; start += RECORDS_AT_ONCE) {
          const some = records.slice(start, start + RECORDS_AT_ONCE);
          await afford(some, signal);
          // one by one they cost less than the turns that they would wait for
          if (records.length === 1) hear(some);
          else await pace.run(() => hear(some));
        }
      }
      return { accepted, dropped };
    },
  };
}

function lineOf(record: LogRecord): ModuleLogLine {
  return {
    level: levelName(record.level),
    message: record.message,
    target: record.target,
    timeUnixMs: record.timeUnixMs,
    fields: record.fields.slice(0, MAX_FIELDS).map(({ key, value }) => [cutBytes(key, MAX_KEY_BYTES), value] as const),
  };
}

function levelName(level: LogLevel): LogLevelName {
  switch (level) {
    case LogLevel.TRACE:
      return 'trace';
    case LogLevel.DEBUG:
      return 'debug';
    case LogLevel.WARN:
      return 'warn';
    case LogLevel.ERROR:
      return 'error';
    default:
      return 'info';
  }
}
