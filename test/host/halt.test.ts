import { afterEach, describe, expect, it } from 'vitest';
import { InvocationFailureKind, StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { halt } from '../../src/host/halt.js';
import type { ExitReport } from '../../src/process/exit.js';
import type { RunningProcess } from '../../src/process/running-process.js';
import { createInvocationDesk } from '../../src/session/invocation-desk.js';
import type { InvocationDesk, InvocationOutcome } from '../../src/session/invocations.js';

const clock = createSystemClock();
const EXIT: ExitReport = {
  code: 0,
  signal: null,
  isCertain: true,
  oomKills: undefined,
  stderrTail: '',
  requested: true,
};
/** Long enough that a busy machine keeps the order of the steps. */
const GRACE_MS = 800;

let desk: InvocationDesk;
afterEach(() => desk.close(new HostError('SESSION_CLOSED', 'the test is over')));

/** A process that tells when it was asked by a signal, and with what time left. */
const createProcess = () => {
  let exit: (report: ExitReport) => void = () => {};
  const exited = new Promise<ExitReport>((resolve) => {
    exit = resolve;
  });
  const stops: number[] = [];
  const running: RunningProcess = {
    pid: 1,
    exited,
    stderrTail: () => '',
    kill: () => exited,
    async stop(graceMs) {
      stops.push(graceMs);
      exit(EXIT);
      return exited;
    },
  };
  return { running, stops, exit: () => exit(EXIT) };
};
/** A module that answers the wish to stop with this, or never. */
const serve = (outcome: InvocationOutcome | undefined, then: () => void = () => {}): unknown[] => {
  desk = createInvocationDesk({ moduleId: 'm', clock, onViolation: () => {} });
  const stream = desk.attach();
  const asked: unknown[] = [];
  void (async () => {
    for (let batch = await stream.next(); batch !== undefined; batch = await stream.next()) {
      for (const { id, work } of batch.invocations) {
        asked.push(work?.value);
        if (outcome === undefined) continue;
        stream.answer([{ id, outcome }]);
        then();
      }
    }
  })().catch(() => {});
  return asked;
};
const stop = async (process: RunningProcess | undefined): Promise<number> => {
  const at = clock.monotonicMs();
  await halt({ invocations: desk, process, clock, log: createSilentLogger() }, StopReason.RELOAD, GRACE_MS);
  return clock.monotonicMs() - at;
};
const failure = (kind: InvocationFailureKind): InvocationOutcome => ({
  $case: 'failure',
  value: { kind, code: 0, message: '', dataJson: '', retryAfterMs: 0 },
});
const done: InvocationOutcome = { $case: 'done', value: {} };

describe('the end of a module in steps', () => {
  it('asks first, with reason and grace, and is done when the process ends', async () => {
    const process = createProcess();
    const asked = serve(done, process.exit);
    await stop(process.running);
    expect(asked).toEqual([{ reason: StopReason.RELOAD, graceMs: GRACE_MS }]);
    // the handle of an ended process does nothing more; it is only waited for
    expect(process.stops).toHaveLength(1);
  });

  it('sends SIGTERM when three quarters of the grace were not enough, whether it answered or not', async () => {
    for (const outcome of [done, undefined]) {
      const process = createProcess();
      serve(outcome);
      expect(await stop(process.running)).toBeGreaterThanOrEqual(GRACE_MS * 0.75 - 5);
      expect(process.stops).toHaveLength(1);
      expect(process.stops[0]).toBeLessThanOrEqual(GRACE_MS * 0.25 + 5);
      desk.close(new HostError('SESSION_CLOSED', 'next'));
    }
  });

  it('sends SIGTERM at once to a module that serves nothing, or does not know the wish', async () => {
    for (const outcome of [failure(InvocationFailureKind.UNSUPPORTED), failure(InvocationFailureKind.FAILED)]) {
      const process = createProcess();
      serve(outcome);
      await stop(process.running);
      expect(process.stops[0]).toBeGreaterThan(GRACE_MS * 0.5);
      desk.close(new HostError('SESSION_CLOSED', 'next'));
    }
    const process = createProcess();
    desk = createInvocationDesk({ moduleId: 'm', clock, onViolation: () => {} });
    await stop(process.running);
    expect(process.stops[0]).toBeGreaterThan(GRACE_MS * 0.5);
  });

  it('waits for an external module’s answer, at most the grace', async () => {
    serve(done);
    expect(await stop(undefined)).toBeLessThan(GRACE_MS * 0.9);
    desk.close(new HostError('SESSION_CLOSED', 'next'));
    serve(undefined);
    expect(await stop(undefined)).toBeGreaterThanOrEqual(GRACE_MS - 5);
  });
});
