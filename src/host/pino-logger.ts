import { destination, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino';
import type { Logger } from '../core/logger.js';

/** Log output that waits for a reader who does not read; what is beyond is lost, the host goes on. Bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Where log lines go: written off the main thread, so that a stopped terminal or a full pipe never stops the host. */
export interface LogOutput {
  /** Takes one or more whole lines. */
  write(lines: string): void;
  /** Hands over what waits; call it before the process ends. */
  flush(): void;
}

/**
 * Opens a log output on a file descriptor of the process.
 *
 * @param onLost called once when the reader has gone, for example `| head`
 */
export function openLogOutput(descriptor: number, onLost: () => void): LogOutput {
  const stream = destination({ dest: descriptor, sync: false, maxLength: MAX_WAITING_BYTES });
  let lost = false;
  stream.on('error', () => {
    if (!lost) onLost();
    lost = true;
  });
  stream.on('drop', () => {});
  return {
    write(lines) {
      if (!lost) stream.write(lines);
    },
    flush() {
      try {
        if (!lost) stream.flushSync();
      } catch {
        // the reader has gone, or nothing was ever written: there is nobody to tell
      }
    },
  };
}

/** A logger that writes one JSON object a line: `time` in ISO 8601 UTC, `level` by name, `msg`. */
export function createPinoLogger(output: LogOutput, level: string): Logger {
  const logger: PinoLogger = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => output.write(line) },
  );
  return logger as unknown as Logger;
}
