import type { LogFields, Logger } from '../core/logger.js';
import { printable } from '../core/printable.js';
import { LOG_LEVELS, type LogLevel } from '../manifest/operator.js';
import type { Paint, Style } from './terminal.js';

/** One line of a log, from wherever it came. */
export interface ShownLine {
  timeUnixMs: number;
  level: LogLevel;
  /** Module that it is about, or `host`. */
  module: string;
  message: string;
  fields: readonly (readonly [string, string])[];
}

/** Names of modules are padded to this width, so that messages stand below each other. */
const MODULE_WIDTH = 14;

const STYLES: Readonly<Record<LogLevel, Style | undefined>> = {
  trace: 'dim',
  debug: 'dim',
  info: undefined,
  warn: 'yellow',
  error: 'red',
};

/** `12:04:31Z INFO  block-watch    message  key=value`; the time is UTC. */
export function logLineText(line: ShownLine, paint: Paint): string {
  const time = `${new Date(line.timeUnixMs).toISOString().slice(11, 19)}Z`;
  const style = STYLES[line.level];
  const level = line.level.toUpperCase().padEnd(5);
  const fields = line.fields.map(([key, value]) => ` ${key}=${/[\s"=]/.test(value) ? JSON.stringify(value) : value}`);
  const told = fields.length === 0 ? '' : paint('dim', ` ${printable(fields.join(''))}`);
  const module = paint('bold', printable(line.module).padEnd(MODULE_WIDTH));
  return `${paint('dim', time)} ${style === undefined ? level : paint(style, level)} ${module} ${printable(line.message)}${told}`;
}

/** A logger for people, one line an entry. */
export function createPrettyLogger(write: (lines: string) => void, level: LogLevel, paint: Paint): Logger {
  const least = LOG_LEVELS.indexOf(level);
  const make = (bound: LogFields): Logger => {
    const at =
      (name: LogLevel) =>
      (fields: LogFields, message: string): void => {
        if (LOG_LEVELS.indexOf(name) < least) return;
        write(`${logLineText(lineOf(name, { ...bound, ...fields }, message), paint)}\n`);
      };
    return {
      trace: at('trace'),
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return make({});
}

function lineOf(level: LogLevel, fields: LogFields, message: string): ShownLine {
  const { module, way: _way, target, fields: own, ...rest } = fields;
  const records = typeof own === 'object' && own !== null ? Object.entries(own) : [];
  return {
    timeUnixMs: Date.now(),
    level,
    module: typeof module === 'string' ? module : 'host',
    message: typeof target === 'string' ? `${target}: ${message}` : message,
    // fields of a module's own carry a prefix in JSON, so that none can pass for the host's
    fields: [
      ...records.map(([key, value]) => [key.replace(/^x_/, ''), textOf(value)] as const),
      ...Object.entries(rest).map(([key, value]) => [key, textOf(value)] as const),
    ],
  };
}

function textOf(value: unknown): string {
  if (value instanceof Error) return value.message;
  if (typeof value === 'string') return value;
  return (
    JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? String(item) : item)) ?? 'undefined'
  );
}
