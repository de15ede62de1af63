import { afterEach, describe, expect, it } from 'vitest';
import { InvocationFailureKind, type InvocationResult, StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { shareOf } from '../../src/session/caller-turns.js';
import { createInvocationDesk, MAX_PENDING_INVOCATIONS, MAX_WORK_BYTES } from '../../src/session/invocation-desk.js';
import type {
  InvocationDesk,
  InvocationOutcome,
  InvocationStream,
  InvocationWork,
} from '../../src/session/invocations.js';

let violations: string[];
let desk: InvocationDesk;
const open = (): InvocationDesk => {
  violations = [];
  desk = createInvocationDesk({
    moduleId: 'b',
    clock: createSystemClock(),
    onViolation: (what) => violations.push(what),
  });
  return desk;
};
afterEach(() => {
  desk.close(new HostError('SESSION_CLOSED', 'the test is over'));
  expect(desk.open()).toBe(0);
});

const api = (params = new Uint8Array(0), caller = 'c'): InvocationWork => ({
  $case: 'api',
  value: { method: 'm', params, caller, callerVersion: '1.0.0', callerGranted: [], depth: 1 },
});
/** Work of the host itself, which has no share: the whole of its room is there for it. */
const tick: InvocationWork = { $case: 'timer', value: { timerId: 1n, name: '', tick: 1n, missed: 0n } };
const apiResult = (byte: number): InvocationOutcome => ({ $case: 'api', value: { result: Uint8Array.of(byte) } });
const done: InvocationOutcome = { $case: 'done', value: {} };
const answer = (id: bigint, outcome: InvocationOutcome | undefined): InvocationResult => ({ id, outcome });
const reason = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => HostError.from(error).reason,
  );
const LONG = { timeoutMs: 60_000 };

/** Every kind of work with the outcome that fits it. */
const KINDS: readonly [InvocationWork, InvocationOutcome][] = [
  [
    { $case: 'rpc', value: { method: 'm', paramsJson: '[1]', coreOverride: false } },
    { $case: 'rpc', value: { resultJson: '{"a":1.10}' } },
  ],
  [
    { $case: 'cli', value: { subcommand: 's', args: ['a'], terminal: false, columns: 0 } },
    { $case: 'cli', value: { stdout: Uint8Array.of(1), stderr: new Uint8Array(0), exitCode: 3 } },
  ],
  [api(), apiResult(7)],
  [tick, done],
  [{ $case: 'task', value: { taskId: 1n, name: '', payload: new Uint8Array(0) } }, done],
  [{ $case: 'configChange', value: { configJson: '{}', changedKeys: [] } }, done],
  [{ $case: 'migrate', value: { fromVersion: '1.0.0', fromSchema: 1, toSchema: 2 } }, done],
  [
    { $case: 'health', value: {} },
    { $case: 'health', value: { report: { status: 1, message: '', checks: [] } } },
  ],
  [{ $case: 'stop', value: { reason: StopReason.UNLOAD, graceMs: 1 } }, done],
];

describe('invocations', () => {
  it('carry every kind of work, ids counting up from 1, answers in any order', async () => {
    const stream = open().attach();
    const asked = KINDS.map(([work]) => desk.ask(work, LONG));
    const { invocations } = (await stream.next()) ?? { invocations: [] };
    expect(invocations.map(({ id }) => id)).toEqual(KINDS.map((_, index) => BigInt(index + 1)));
    expect(invocations.map(({ work }) => work)).toEqual(KINDS.map(([work]) => work));
    for (const { timeoutMs } of invocations) expect(timeoutMs).toBeGreaterThan(0);
    for (const [index, [, outcome]] of [...KINDS.entries()].reverse())
      stream.answer([answer(BigInt(index + 1), outcome)]);
    expect(await Promise.all(asked)).toEqual(KINDS.map(([, outcome]) => outcome));
    expect(violations).toEqual([]);
  });

  it('take a failure for any kind, its message cut', async () => {
    const stream = open().attach();
    const asked = KINDS.map(([work]) => desk.ask(work, LONG));
    await stream.next();
    const failure = {
      kind: InvocationFailureKind.FAILED,
      code: -5,
      message: 'x'.repeat(10_000),
      dataJson: '',
      retryAfterMs: 0,
    };
    stream.answer(KINDS.map((_, index) => answer(BigInt(index + 1), { $case: 'failure', value: failure })));
    for (const outcome of await Promise.all(asked)) {
      expect(outcome).toMatchObject({ $case: 'failure', value: { code: -5, message: 'x'.repeat(4_096) } });
    }
  });

  it('C133: answers to nobody, to another kind, given twice or long after the deadline are ignored and counted', async () => {
    const stream = open().attach();
    const first = desk.ask(api(), LONG);
    const second = desk.ask(api(), LONG);
    await stream.next();
    stream.answer([answer(99n, apiResult(1)), answer(0n, apiResult(1))]);
    expect(violations).toHaveLength(2);
    stream.answer([answer(1n, done)]);
    expect(await reason(first)).toBe('PROTOCOL_VIOLATION');
    expect(violations).toHaveLength(3);
    stream.answer([answer(2n, apiResult(2)), answer(2n, apiResult(3))]);
    expect(await second).toEqual(apiResult(2));
    expect(violations).toHaveLength(4);
    // nothing set at all
    const third = desk.ask(api(), LONG);
    await stream.next();
    stream.answer([answer(3n, undefined)]);
    expect(await reason(third)).toBe('PROTOCOL_VIOLATION');
    expect(violations).toHaveLength(5);

    const late = desk.ask(api(), { timeoutMs: 1 });
    await stream.next();
    expect(await reason(late)).toBe('DEADLINE_EXCEEDED');
    expect((await stream.next())?.cancelledIds).toEqual([4n]);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    stream.answer([answer(4n, apiResult(4))]);
    expect(violations).toHaveLength(6);
  });

  it('C135: what its caller gives up is told, an answer on its way is not held against the module, a second one is', async () => {
    const stream = open().attach();
    const caller = new AbortController();
    const asked = desk.ask(api(), { ...LONG, signal: caller.signal });
    await stream.next();
    caller.abort();
    expect(await reason(asked)).toBe('CANCELLED');
    expect(await stream.next()).toEqual({ invocations: [], cancelledIds: [1n] });
    stream.answer([answer(1n, apiResult(1))]);
    expect(violations).toEqual([]);
    stream.answer([answer(1n, apiResult(1))]);
    expect(violations).toHaveLength(1);
  });

  it('never hand over what was given up before its turn', async () => {
    const stream = open().attach();
    stream.bound(1);
    const caller = new AbortController();
    const asked = [desk.ask(api(), LONG), desk.ask(api(), { ...LONG, signal: caller.signal }), desk.ask(api(), LONG)];
    expect((await stream.next())?.invocations.map(({ id }) => id)).toEqual([1n]);
    caller.abort(new HostError('PERMISSION_WITHDRAWN', 'taken back'));
    expect(await reason(asked[1] as Promise<unknown>)).toBe('PERMISSION_WITHDRAWN');
    stream.answer([answer(1n, apiResult(1))]);
    expect(await stream.next()).toMatchObject({ invocations: [{ id: 2n }], cancelledIds: [] });
    stream.answer([answer(2n, apiResult(2))]);
    expect(await asked[2]).toEqual(apiResult(2));
  });

  it('C134: 64 without an answer end at their deadline, the 65th is refused at once, and nothing is left', async () => {
    const stream = open().attach();
    const asked = Array.from({ length: MAX_PENDING_INVOCATIONS }, () => reason(desk.ask(tick, { timeoutMs: 300 })));
    expect(await reason(desk.ask(api(), LONG))).toBe('TOO_MANY_CALLS');
    expect((await stream.next())?.invocations).toHaveLength(MAX_PENDING_INVOCATIONS);
    expect(desk.open()).toBe(MAX_PENDING_INVOCATIONS);
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['DEADLINE_EXCEEDED']));
    expect(desk.open()).toBe(0);
    const again = desk.ask(api(), LONG);
    const batch = await stream.next();
    expect(batch?.cancelledIds).toHaveLength(MAX_PENDING_INVOCATIONS);
    stream.answer([answer(65n, apiResult(1))]);
    expect(await again).toEqual(apiResult(1));
  });

  it('keep to what the module wants open, health and stop aside', async () => {
    const stream = open().attach();
    stream.bound(2);
    const asked = ['c', 'd', 'c'].map((caller) => desk.ask(api(undefined, caller), LONG));
    expect((await stream.next())?.invocations).toHaveLength(2);
    const health = desk.ask({ $case: 'health', value: {} }, { ...LONG, urgent: true });
    expect((await stream.next())?.invocations.map(({ work }) => work?.$case)).toEqual(['health']);
    stream.answer([answer(3n, { $case: 'health', value: { report: undefined } })]);
    expect(await health).toEqual({ $case: 'health', value: { report: undefined } });
    stream.answer([answer(1n, apiResult(1))]);
    expect((await stream.next())?.invocations).toHaveLength(1);
    stream.answer([answer(2n, apiResult(2)), answer(4n, apiResult(3))]);
    expect(await Promise.all(asked)).toEqual([1, 2, 3].map(apiResult));
  });

  it('pass 64 open ones with urgent work, and take no others once the module is stopping', async () => {
    const stream = open().attach();
    const asked = Array.from({ length: MAX_PENDING_INVOCATIONS }, () => reason(desk.ask(tick, LONG)));
    desk.retire();
    expect(await reason(desk.ask(api(), LONG))).toBe('MODULE_UNAVAILABLE');
    const stop = desk.ask(
      { $case: 'stop', value: { reason: StopReason.UNLOAD, graceMs: 1 } },
      { ...LONG, urgent: true },
    );
    const batch = await stream.next();
    expect(batch?.invocations[0]?.work?.$case).toBe('stop');
    stream.answer([answer(1n, done)]);
    expect(await stop).toEqual(done);
    stream.close();
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['MODULE_UNAVAILABLE']));
  });

  it('C135: fail with the stream, are not repeated on the next one, and its ids begin anew', async () => {
    const first = open().attach();
    expect(() => desk.attach()).toThrow(expect.objectContaining({ reason: 'STREAM_EXISTS' }));
    const sent = reason(desk.ask(api(), LONG));
    await first.next();
    const unsent = reason(desk.ask(api(), LONG));
    first.close();
    expect(await Promise.all([sent, unsent])).toEqual(['MODULE_UNAVAILABLE', 'MODULE_UNAVAILABLE']);
    expect(await first.next()).toBeUndefined();
    expect(await reason(desk.ask(api(), LONG))).toBe('MODULE_UNAVAILABLE');
    const second = desk.attach();
    // an answer on the old stream is nothing to the new one
    const asked = desk.ask(api(), LONG);
    expect((await second.next())?.invocations.map(({ id }) => id)).toEqual([1n]);
    first.answer([answer(1n, apiResult(9))]);
    second.answer([answer(1n, apiResult(1))]);
    expect(await asked).toEqual(apiResult(1));
  });

  it('fail with the session, and nobody opens a stream any more', async () => {
    const stream = open().attach();
    const asked = reason(desk.ask(api(), LONG));
    const waiting = stream.next().then(() => stream.next());
    desk.close(new HostError('SESSION_CLOSED', 'over'));
    expect(await asked).toBe('MODULE_UNAVAILABLE');
    expect(await reason(waiting)).toBe('SESSION_CLOSED');
    expect(await reason(desk.ask(api(), LONG))).toBe('MODULE_UNAVAILABLE');
    expect(() => desk.attach()).toThrow(expect.objectContaining({ reason: 'SESSION_CLOSED' }));
  });

  it('fit into messages that stock clients take: the large go one by one, the too large not at all', async () => {
    const stream = open().attach();
    expect(await reason(desk.ask(api(new Uint8Array(MAX_WORK_BYTES + 1)), LONG))).toBe('MESSAGE_TOO_LARGE');
    // one caller alone may have half of the bytes, so these are of the host
    const large: InvocationWork = {
      $case: 'task',
      value: { taskId: 1n, name: '', payload: new Uint8Array(MAX_WORK_BYTES) },
    };
    const asked = [1, 2, 3, 4].map(() => desk.ask(large, LONG));
    expect(await reason(desk.ask(api(new Uint8Array(1)), LONG))).toBe('TOO_MANY_CALLS');
    for (const id of [1n, 2n, 3n, 4n]) {
      expect((await stream.next())?.invocations.map((invocation) => invocation.id)).toEqual([id]);
      stream.answer([answer(id, done)]);
    }
    expect(await Promise.all(asked)).toEqual([done, done, done, done]);
  });

  it('C164: time in which the host stood still is not the module’s', async () => {
    const stream = open().attach();
    const asked = reason(desk.ask(api(), { timeoutMs: 400 }));
    await stream.next();
    const until = performance.now() + 900;
    while (performance.now() < until);
    setTimeout(() => stream.answer([answer(1n, apiResult(1))]), 50);
    expect(await asked).toBe('OK');
  });
});

describe('one caller among others', () => {
  const ids = async (stream: InvocationStream): Promise<bigint[]> =>
    (await stream.next())?.invocations.map(({ id }) => id) ?? [];
  const share = shareOf(MAX_PENDING_INVOCATIONS, 0);
  const rpc: InvocationWork = { $case: 'rpc', value: { method: 'm', paramsJson: '', coreOverride: false } };
  const cli: InvocationWork = { $case: 'cli', value: { subcommand: 's', args: [], terminal: false, columns: 0 } };

  it('C134: has half of what the others leave, so that six that want everything leave places to the seventh', async () => {
    open().attach();
    const granted = (caller: string): number => {
      let count = 0;
      for (; count < MAX_PENDING_INVOCATIONS; count += 1) {
        const before = desk.open();
        desk.ask(api(undefined, caller), LONG).catch(() => {});
        if (desk.open() === before) break;
      }
      return count;
    };
    expect(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map(granted)).toEqual([32, 16, 8, 4, 2, 1, 1, 0]);
  });

  it('shuts out neither modules, nor people outside, nor the host, which has no share', async () => {
    open().attach();
    const hostile = Array.from({ length: share }, () => reason(desk.ask(api(undefined, 'hostile'), LONG)));
    expect(await reason(desk.ask(api(undefined, 'hostile'), LONG))).toBe('TOO_MANY_CALLS');
    const before = desk.open();
    const others = [api(undefined, 'honest'), rpc, cli, tick].map((work) => reason(desk.ask(work, { timeoutMs: 200 })));
    expect(desk.open()).toBe(before + 4);
    expect(new Set(await Promise.all(others))).toEqual(new Set(['DEADLINE_EXCEEDED']));
    // people at the front door are one caller, those at the command line another
    const doors = Array.from({ length: share / 2 }, () => reason(desk.ask(rpc, LONG)));
    expect(await reason(desk.ask(rpc, LONG))).toBe('TOO_MANY_CALLS');
    const lines = Array.from({ length: share / 4 }, () => reason(desk.ask(cli, LONG)));
    expect(await reason(desk.ask(cli, LONG))).toBe('TOO_MANY_CALLS');
    const rest = Array.from({ length: MAX_PENDING_INVOCATIONS - desk.open() }, () => reason(desk.ask(tick, LONG)));
    expect(await reason(desk.ask(tick, LONG))).toBe('TOO_MANY_CALLS');
    desk.close(new HostError('SESSION_CLOSED', 'over'));
    expect(new Set(await Promise.all([...hostile, ...doors, ...lines, ...rest]))).toEqual(
      new Set(['MODULE_UNAVAILABLE']),
    );
  });

  it('has half of the bytes that the others leave', async () => {
    open().attach();
    const large = (caller: string): Promise<string> =>
      reason(desk.ask(api(new Uint8Array(MAX_WORK_BYTES), caller), { timeoutMs: 200 }));
    const held = [large('a'), large('a')];
    expect(await large('a')).toBe('TOO_MANY_CALLS');
    const other = large('b');
    expect(desk.open()).toBe(3);
    // there is room for a fourth one, and no half of it is that large
    expect(await large('c')).toBe('TOO_MANY_CALLS');
    const small = reason(desk.ask(api(new Uint8Array(1_000_000), 'c'), { timeoutMs: 200 }));
    expect(desk.open()).toBe(4);
    expect(new Set(await Promise.all([...held, other, small]))).toEqual(new Set(['DEADLINE_EXCEEDED']));
  });

  it('leaves one place at work to the others, and has one turn as they have', async () => {
    const stream = open().attach();
    stream.bound(3);
    const hostile = Array.from({ length: 6 }, () => desk.ask(api(undefined, 'hostile'), LONG));
    expect(await ids(stream)).toEqual([1n, 2n]);
    const honest = ['one', 'one', 'two'].map((caller) => desk.ask(api(undefined, caller), LONG));
    // the place that was left, though nothing of the first is answered
    const batch = await stream.next();
    expect(batch?.invocations).toMatchObject([{ id: 3n, work: { value: { caller: 'one' } } }]);
    const order: unknown[] = [];
    // with the sixth answer only the first caller has something waiting, and all places but one
    for (const some of [[1n], [2n], [3n], [4n], [5n], [6n, 7n]]) {
      stream.answer(some.map((id) => answer(id, apiResult(Number(id)))));
      for (const { work } of (await stream.next())?.invocations ?? []) {
        if (work?.$case === 'api') order.push(work.value.caller);
      }
    }
    expect(order).toEqual(['hostile', 'two', 'one', 'hostile', 'hostile', 'hostile']);
    stream.answer([8n, 9n].map((id) => answer(id, apiResult(Number(id)))));
    expect(await Promise.all([...hostile, ...honest])).toHaveLength(9);
    expect(violations).toEqual([]);
  });

  it('gives up what waits in its own line alone, and a message too large for its batch keeps its turn', async () => {
    const stream = open().attach();
    const gone = new AbortController();
    const given = reason(desk.ask(api(), { ...LONG, signal: gone.signal }));
    const asked = [
      desk.ask(api(new Uint8Array(200_000), 'd'), LONG),
      desk.ask(api(new Uint8Array(MAX_WORK_BYTES), 'e'), LONG),
      desk.ask(api(undefined, 'd'), LONG),
    ];
    gone.abort();
    expect(await given).toBe('CANCELLED');
    const callers = async (): Promise<unknown[]> =>
      (await stream.next())?.invocations.map(({ work }) => (work?.$case === 'api' ? work.value.caller : '')) ?? [];
    expect(await callers()).toEqual(['d']);
    expect(await callers()).toEqual(['e']);
    expect(await callers()).toEqual(['d']);
    stream.answer([1n, 2n, 3n].map((id) => answer(id, apiResult(Number(id)))));
    expect(await Promise.all(asked)).toEqual([1, 2, 3].map(apiResult));
  });
});
