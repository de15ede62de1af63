import type { StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import type { Logger } from '../core/logger.js';
import type { RunningProcess } from '../process/running-process.js';
import type { Invocations } from '../session/invocations.js';

/** Share of the grace in which a module ends by itself once it was asked; what is left is between SIGTERM and SIGKILL. */
const ASKED_SHARE = 0.75;

/** Who is to stop. */
export interface HaltSubject {
  readonly invocations: Invocations;
  /** Undefined for a module that somebody else started. */
  readonly process: RunningProcess | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Stops a module: the Stop invocation when it serves invocations, SIGTERM when three quarters of the grace have not been
 * enough or nobody could be asked, SIGKILL for the whole group at the end of the grace. For an external module only the
 * first is in the host's hand: it resolves when the module has answered, at the latest after the grace.
 */
export async function halt(subject: HaltSubject, reason: StopReason, graceMs: number): Promise<void> {
  const { process, clock } = subject;
  const untilMs = clock.monotonicMs() + graceMs;
  const askedMs = process === undefined ? graceMs : graceMs * ASKED_SHARE;
  const asked = await ask(subject, reason, graceMs, askedMs);
  if (process === undefined) return;
  if (asked) await waitFor(process, untilMs - graceMs + askedMs - clock.monotonicMs());
  await process.stop(Math.max(0, untilMs - clock.monotonicMs()));
}

/** True when the module was asked and did not refuse: it may be on its way out. */
async function ask(subject: HaltSubject, reason: StopReason, graceMs: number, timeoutMs: number): Promise<boolean> {
  const { invocations, log } = subject;
  if (!invocations.serving()) return false;
  try {
    const outcome = await invocations.ask({ $case: 'stop', value: { reason, graceMs } }, { timeoutMs, urgent: true });
    return outcome.$case === 'done';
  } catch (thrown) {
    const error = HostError.from(thrown);
    if (error.reason === 'DEADLINE_EXCEEDED') log.warn({ timeoutMs }, 'did not answer the wish to stop');
    // the stream ended without an answer: most likely it is just exiting
    return error.reason === 'MODULE_UNAVAILABLE';
  }
}

async function waitFor(process: RunningProcess, ms: number): Promise<void> {
  if (ms <= 0) return;
  const waited = new AbortController();
  void process.exited.then(() => waited.abort());
  await delay(ms, waited.signal);
}
