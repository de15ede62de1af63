import { afterEach, describe, expect, it } from 'vitest';
import { type HealthReport, HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import { InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { type ProbeMode, probeModule } from '../../src/host/probe.js';
import { createInvocationDesk } from '../../src/session/invocation-desk.js';
import type { InvocationDesk, InvocationOutcome } from '../../src/session/invocations.js';

const clock = createSystemClock();
const over = new HostError('SESSION_CLOSED', 'over');
let desk: InvocationDesk;
let pings: number;
let violations: number;
const begin = (): void => {
  pings = 0;
  violations = 0;
  desk = createInvocationDesk({
    moduleId: 'm',
    clock,
    onViolation: () => {
      violations += 1;
    },
  });
};
afterEach(() => desk.close(over));

/** Serves health checks with this outcome; undefined: the stream breaks instead. */
const serve = (outcome: InvocationOutcome | undefined): void => {
  const stream = desk.attach();
  void stream.next().then((batch) => {
    const id = batch?.invocations[0]?.id;
    if (outcome === undefined || id === undefined) stream.close();
    else stream.answer([{ id, outcome }]);
  });
};
const probe = (answersPing = true, mode: ProbeMode = 'invocation', ended = new AbortController().signal) =>
  probeModule(
    {
      moduleId: 'm',
      invocations: desk,
      ended,
      async ping() {
        pings += 1;
        return answersPing;
      },
    },
    clock,
    200,
    mode,
  );
const failed = (kind: InvocationFailureKind): InvocationOutcome => ({
  $case: 'failure',
  value: { kind, code: 0, message: 'no peers', dataJson: '', retryAfterMs: 0 },
});

describe('a probe', () => {
  it('asks by invocation where the module serves, and by PING where it does not or shall not be asked', async () => {
    begin();
    expect(await probe()).toBeUndefined();
    expect(pings).toBe(1);
    const report: HealthReport = { status: HealthStatus.HEALTHY, message: 'fine', checks: [] };
    serve({ $case: 'health', value: { report } });
    expect(await probe()).toEqual(report);
    expect(pings).toBe(1);
    expect(await probe(true, 'ping')).toBeUndefined();
    expect(pings).toBe(2);
  });

  it('takes any answer for a sign of life, and a failure to do well for the module’s own word', async () => {
    const told: [InvocationOutcome, HealthReport | undefined][] = [
      [failed(InvocationFailureKind.UNSUPPORTED), undefined],
      [failed(InvocationFailureKind.BUSY), undefined],
      [failed(InvocationFailureKind.FAILED), { status: HealthStatus.UNHEALTHY, message: 'no peers', checks: [] }],
      [{ $case: 'health', value: { report: undefined } }, undefined],
      [{ $case: 'done', value: {} }, undefined],
    ];
    for (const [outcome, report] of told) {
      begin();
      serve(outcome);
      expect(await probe(false)).toEqual(report);
      expect(pings).toBe(0);
    }
    expect(violations).toBe(1);
  });

  it('C140: rejects when nobody answers; a broken stream leaves the PING', async () => {
    begin();
    desk.attach();
    await expect(probe()).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    expect(pings).toBe(0);
    await expect(probe(false, 'ping')).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    desk.close(over);
    begin();
    serve(undefined);
    expect(await probe()).toBeUndefined();
    expect(pings).toBe(1);
    await expect(probe(true, 'ping', AbortSignal.abort(over))).rejects.toBe(over);
  });
});
