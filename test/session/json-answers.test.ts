import { expect, it } from 'vitest';
import { InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createInvocationDesk } from '../../src/session/invocation-desk.js';
import type { InvocationOutcome } from '../../src/session/invocations.js';

const result = (resultJson: string): InvocationOutcome => ({ $case: 'rpc', value: { resultJson } });
const failure = (dataJson: string): InvocationOutcome => ({
  $case: 'failure',
  value: { kind: InvocationFailureKind.FAILED, code: 7, message: '', dataJson, retryAfterMs: 0 },
});

it.each<[string, InvocationOutcome, boolean]>([
  ['an amount', result('0.10000000'), true],
  ['white space around it', result(' {"a":1e-8}\n'), true],
  ['failure without data', failure(''), true],
  ['failure with data', failure('[21000000.00000000]'), true],
  ['nothing', result(''), false],
  ['what Python prints', result("{'a': NaN}"), false],
  ['two values', result('1 2'), false],
  ['an end of the answer and a second one', result('1,"id":1}\n{"result":2'), false],
  ['what is nested without end', result('['.repeat(100_000)), false],
  ['data that is no JSON', failure('{"a"'), false],
])('a JSON-RPC answer of a module with %s is taken: %#', async (_name, outcome, taken) => {
  const violations: string[] = [];
  const desk = createInvocationDesk({
    moduleId: 'b',
    clock: createSystemClock(),
    onViolation: (what) => violations.push(what),
  });
  const stream = desk.attach();
  const asked = desk.ask(
    { $case: 'rpc', value: { method: 'm', paramsJson: '', coreOverride: false } },
    { timeoutMs: 5_000 },
  );
  await stream.next();
  stream.answer([{ id: 1n, outcome }]);
  const became = await asked.then(
    (got) => got,
    (error: unknown) => HostError.from(error).reason,
  );
  expect(became).toEqual(taken ? outcome : 'PROTOCOL_VIOLATION');
  expect(violations).toHaveLength(taken ? 0 : 1);
  desk.close(new HostError('SESSION_CLOSED', 'the test is over'));
});
