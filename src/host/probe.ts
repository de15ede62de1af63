import { type HealthReport, HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import { InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import { boundReport } from '../services/health-report.js';
import type { InvocationOutcome, Invocations } from '../session/invocations.js';

/** How a module is asked whether it lives: `[health] mode` of its manifest. */
export type ProbeMode = 'invocation' | 'ping';

/** Whom a probe asks. */
export interface ProbeSubject {
  readonly moduleId: string;
  readonly invocations: Invocations;
  readonly ended: AbortSignal;
  ping(timeoutMs: number): Promise<boolean>;
}

/**
 * Asks a module whether it lives: by a health invocation when it serves invocations, else by PING on its connections. One
 * without a connection counts as alive as long as its process does: it may dial when it has something to ask.
 *
 * @returns what it says of itself; undefined when it lives and says nothing: it was asked by PING, or it does not know the
 *   invocation
 * @throws  HostError DEADLINE_EXCEEDED when it did not answer: a missed probe; what ended the session when that is over
 */
export async function probeModule(
  subject: ProbeSubject,
  clock: Clock,
  timeoutMs: number,
  mode: ProbeMode,
): Promise<HealthReport | undefined> {
  const { invocations, ended } = subject;
  const untilMs = clock.monotonicMs() + timeoutMs;
  if (mode === 'invocation' && invocations.serving()) {
    try {
      return reportOf(await invocations.ask({ $case: 'health', value: {} }, { timeoutMs, urgent: true }));
    } catch (thrown) {
      const { reason } = HostError.from(thrown);
      // an answer of the wrong kind is counted as a violation, and is a sign of life
      if (reason === 'PROTOCOL_VIOLATION') return undefined;
      // the stream broke meanwhile: whoever is at the other end may still answer a PING
      if (reason !== 'MODULE_UNAVAILABLE') throw thrown;
    }
  }
  if (ended.aborted) throw ended.reason as HostError;
  if (await subject.ping(Math.max(1, untilMs - clock.monotonicMs()))) return undefined;
  throw new HostError('DEADLINE_EXCEEDED', `${subject.moduleId} did not answer a PING within ${timeoutMs} ms`);
}

/** What an answer says of the module's health; a failure is one of the module's checks, not of its life. */
function reportOf(outcome: InvocationOutcome): HealthReport | undefined {
  if (outcome.$case === 'health') return outcome.value.report && boundReport(outcome.value.report);
  if (outcome.$case !== 'failure') return undefined;
  const { kind, message } = outcome.value;
  const failed = kind === InvocationFailureKind.FAILED || kind === InvocationFailureKind.UNSPECIFIED;
  return failed ? boundReport({ status: HealthStatus.UNHEALTHY, message, checks: [] }) : undefined;
}
