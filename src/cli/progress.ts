import { durationText } from './table.js';
import type { Terminal } from './terminal.js';

/** A command that answers within this time needs no progress line, milliseconds. */
const PATIENCE_MS = 1_000;

/** Waits for some work; from the second on a terminal shows on standard error what is being waited for. */
export async function withProgress<T>(terminal: Terminal, what: string, work: Promise<T>): Promise<T> {
  const began = performance.now();
  const show = (): void => terminal.progress(`${what} … ${durationText(performance.now() - began)}`);
  const timer = setInterval(show, PATIENCE_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    terminal.progress('');
  }
}
