import { LogLevel, type LogRecord, type LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import type { ServiceImpl } from '../contract/service.js';
import { cutBytes } from '../core/printable.js';

/** Fields of one record that are kept. */
const MAX_FIELDS = 64;
/** Longest name of a field, bytes; a longer one is cut. */
const MAX_KEY_BYTES = 64;

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

/** Answers LogService for one spawn. */
export function createLogService(sink: ModuleLogSink): ServiceImpl<typeof LogServiceService> {
  return {
    async write(requests) {
      let accepted = 0n;
      let dropped = 0n;
      for await (const { records } of requests) {
        for (const record of records) {
          if (sink.write(lineOf(record))) accepted += 1n;
          else dropped += 1n;
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
