/** Fields of one structured log line. */
export type LogFields = Readonly<Record<string, unknown>>;

/** What the house needs of a logger; pino satisfies it. */
export interface Logger {
  trace(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
}

/** A logger that writes nothing; the default of an embedded host. */
export function createSilentLogger(): Logger {
  const silent: Logger = {
    trace() {},
    debug() {},
    info() {},
    warn() {},
    error() {},
    child: () => silent,
  };
  return silent;
}
