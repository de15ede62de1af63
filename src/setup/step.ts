import type { CommandResult } from './command.js';
import type { Stamp } from './stamp.js';
import { seconds, type Terminal } from './terminal.js';

/** Pause between two signs of life of a step that takes long, milliseconds. */
const PROGRESS_MS = 10_000;
/** A step that takes longer than this says that it has begun, milliseconds. */
const SILENT_MS = 1_000;

/** One piece of work of setup. */
export interface Step {
  /** What it makes, as people read it. */
  name: string;
  /** How long it takes where nothing is cached, as people read it. */
  usual: string;
  /** Why it cannot be done here; absent when it can. */
  obstacle?: string | undefined;
  stamp: Stamp;
  work(): Promise<CommandResult>;
}

/** What became of a step. */
export type Outcome = 'built' | 'current' | 'skipped' | 'failed';

/** Does one step unless its result is current, and tells how it went. */
export async function perform(step: Step, terminal: Terminal): Promise<Outcome> {
  if (step.obstacle !== undefined) {
    terminal.say(`  ${step.name}: skipped, ${step.obstacle}`);
    return 'skipped';
  }
  if (step.stamp.isCurrent()) {
    terminal.say(`  ${step.name}: up to date`);
    return 'current';
  }
  step.stamp.clear();
  const started = performance.now();
  const result = await watched(step.name, `working, usually ${step.usual}`, terminal, step.work);
  const took = seconds(performance.now() - started);
  if (!result.ok) {
    terminal.say(`  ${step.name}: failed after ${took}\n${indent(result.tail)}`);
    return 'failed';
  }
  step.stamp.write();
  terminal.say(`  ${step.name}: built in ${took}`);
  return 'built';
}

/** Runs `work` and says that it goes on, soon after its begin and every ten seconds. */
export async function watched<T>(name: string, begin: string, terminal: Terminal, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const first = setTimeout(() => terminal.say(`  ${name}: ${begin}`), SILENT_MS);
  const next = setInterval(
    () => terminal.say(`  ${name}: still working, ${seconds(performance.now() - started)}`),
    PROGRESS_MS,
  );
  try {
    return await work();
  } finally {
    clearTimeout(first);
    clearInterval(next);
  }
}

/** Text moved in by six columns, so that a program's words stand apart from setup's own. */
export function indent(text: string): string {
  return text.replace(/^/gm, '      ');
}
