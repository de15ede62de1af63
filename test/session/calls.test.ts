import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Permission } from '../../gen/ts/modhost/v1/permission.js';
import { HostError } from '../../src/contract/error.js';
import { PERMISSIONS } from '../../src/contract/permission.js';
import { shareOf } from '../../src/session/caller-turns.js';
import { MAX_CALL_DEPTH } from '../../src/session/calls.js';
import { MAX_PENDING_INVOCATIONS, MAX_WORK_BYTES } from '../../src/session/invocation-desk.js';
import { type Actor, type Asked, type CallWorld, createCallWorld, over, reason, result } from './call-world.js';

/** Open calls of one caller when nobody else calls. */
const SHARE = shareOf(MAX_PENDING_INVOCATIONS, 0);

let world: CallWorld;
beforeEach(() => {
  world = createCallWorld();
});
afterEach(() => {
  const actors = world.actors();
  world.close();
  expect(world.router.counts()).toEqual({ offers: 0, calls: 0 });
  for (const { session } of actors) expect(session.invocations.open()).toBe(0);
});

const asked = async (actor: Actor, count = 1): Promise<Asked> => {
  await expect.poll(() => actor.asked.length, { interval: 2 }).toBeGreaterThanOrEqual(count);
  return actor.asked[count - 1] as Asked;
};
const soon = () => new Promise<void>((resolve) => setTimeout(resolve, 5));

describe('calls of modules', () => {
  it('C131: carry who calls, in which version and with which grants as they are now', async () => {
    const a = world.actor('a');
    const b = world.actor('b', (actor, { id }) => actor.answer(id, result(Uint8Array.of(7))));
    b.offer(['m']);
    expect(await a.call('b', 'm', { params: Uint8Array.of(1, 2) })).toEqual(result(Uint8Array.of(7)));
    expect(b.asked[0]).toMatchObject({ method: 'm', caller: 'a', callerVersion: '1.2.3', depth: 1 });
    expect([...(b.asked[0]?.params ?? [])]).toEqual([1, 2]);
    expect(b.asked[0]?.callerGranted).toHaveLength(PERMISSIONS.length);
    a.session.grants.withdraw('READ_STORAGE');
    await a.call('b', 'm');
    expect(b.asked[1]?.callerGranted).not.toContain(Permission.READ_STORAGE);
    expect(b.asked[1]?.callerGranted).toHaveLength(PERMISSIONS.length - 1);
  });

  it('C130: go to the module and the method that are named and to no other', async () => {
    const a = world.actor('a');
    const b = world.actor('b', (actor, { id }) => actor.answer(id, result(Uint8Array.of(1))));
    const c = world.actor('c', (actor, { id }) => actor.answer(id, result(Uint8Array.of(2))));
    b.offer(['m', 'mine']);
    c.offer(['m']);
    expect(await a.call('b', 'm')).toEqual(result(Uint8Array.of(1)));
    expect(await a.call('c', 'm')).toEqual(result(Uint8Array.of(2)));
    expect(await reason(a.call('c', 'mine'))).toBe('METHOD_NOT_FOUND');
    expect(await reason(a.call('m', 'm'))).toBe('MODULE_NOT_FOUND');
  });

  it('C129: find no module, none that can be called now, none of that version, none that takes this caller', async () => {
    const a = world.actor('a');
    const b = world.actor('b', (actor, { id }) => actor.answer(id, result()));
    expect(await reason(a.call('a', 'm'))).toBe('CALL_DEPTH');
    expect(await reason(a.call('b', 'm'))).toBe('METHOD_NOT_FOUND');
    b.offer(['m'], { version: 2, callers: ['a'] });
    expect(await reason(a.call('b', 'm', { minVersion: 2 }))).toBe('OK');
    expect(await reason(a.call('b', 'm', { minVersion: 3 }))).toBe('INCOMPATIBLE');
    expect(await reason(world.actor('c').call('b', 'm'))).toBe('CALLER_NOT_ALLOWED');
    world.places.set('b', { kind: 'open', session: b.session, callers: new Set(['c']) });
    expect(await reason(a.call('b', 'm'))).toBe('CALLER_NOT_ALLOWED');
    expect(await reason(a.call('b', 'm', { asProvider: true }))).toBe('OK');
    world.places.set('b', { kind: 'away', words: 'starting', retryAfterMs: 1_234 });
    await expect(a.call('b', 'm')).rejects.toMatchObject({ reason: 'MODULE_UNAVAILABLE', retryAfterMs: 1_234 });
    world.places.set('b', { kind: 'unloaded' });
    expect(await reason(a.call('b', 'm'))).toBe('MODULE_NOT_FOUND');
    world.places.delete('b');
    b.stream.close();
    await expect(a.call('b', 'm')).rejects.toMatchObject({ reason: 'MODULE_UNAVAILABLE', retryAfterMs: 100 });
    expect(b.asked).toHaveLength(2);
  });

  it('an offer ends with its session and with its permission; taken back it lets calls in flight finish', async () => {
    const a = world.actor('a');
    const b = world.actor('b');
    b.offer(['m']);
    const call = a.call('b', 'm');
    const { id } = await asked(b);
    expect(world.router.withdraw(b.session)).toBe(true);
    expect(world.router.withdraw(b.session)).toBe(false);
    expect(await reason(a.call('b', 'm'))).toBe('METHOD_NOT_FOUND');
    b.answer(id, result());
    expect(await call).toEqual(result());
    b.offer(['m']);
    b.session.grants.withdraw('REGISTER_MODULE_API');
    expect(world.router.counts().offers).toBe(0);
    const old = b.session;
    b.open();
    b.offer(['other']);
    // what is left of the old session takes nothing from the new one
    old.close(over());
    expect(world.router.offerOf('b')?.methods).toEqual(new Set(['other']));
    expect(() => world.router.offer(old, { methods: new Set(['x']), version: 1, callers: undefined })).toThrow();
    b.session.close(over());
    expect(world.router.counts().offers).toBe(0);
  });

  it(`C128: a chain of ${MAX_CALL_DEPTH} is carried, the next is refused, and all of it is let go`, async () => {
    // each calls the next one before it answers, naming no invocation
    const names = Array.from({ length: MAX_CALL_DEPTH + 2 }, (_, index) => `m${index}`);
    const reasons: string[] = [];
    const actors = names.map((name, index) =>
      world.actor(name, async (actor, { id }) => {
        const next = await reason(actor.call(names[index + 1] ?? 'm0', 'go'));
        if (next !== 'OK') reasons.push(`${index} ${next}`);
        actor.answer(id, result());
      }),
    );
    for (const actor of actors) actor.offer(['go']);
    expect(await reason((actors[0] as Actor).call('m1', 'go'))).toBe('OK');
    expect(reasons).toEqual([`${MAX_CALL_DEPTH} CALL_DEPTH`]);
    expect(actors.map(({ asked: heard }) => heard[0]?.depth)).toEqual([
      ...[undefined, 1, 2, 3, 4, 5, 6, 7, 8],
      undefined,
    ]);
  });

  it('C128: a circle of the same method is found at its first turn, with the chain in words', async () => {
    const seen: HostError[] = [];
    const step =
      (target: string) =>
      async (actor: Actor, { id }: Asked) => {
        const error = await actor.call(target, 'go', { forInvocation: id }).catch((thrown: unknown) => thrown);
        if (error instanceof HostError) seen.push(error);
        actor.answer(id, result());
      };
    const a = world.actor('a', step('b'));
    const b = world.actor('b', step('a'));
    a.offer(['go', 'stay']);
    b.offer(['go']);
    expect(await reason(a.call('b', 'go'))).toBe('OK');
    expect(seen.map(({ reason: why }) => why)).toEqual(['CALL_DEPTH']);
    expect(seen[0]?.details.chain).toBe('b.go > a.go > b.go');
    expect(b.asked).toHaveLength(1);
    // another method of the same module is no circle
    const c = world.actor('c', async (actor, { id }) => {
      await actor.call('a', 'stay', { forInvocation: id, timeoutMs: 20 }).catch(() => {});
      actor.answer(id, result());
    });
    c.offer(['go']);
    expect(await reason(a.call('c', 'go'))).toBe('OK');
    expect(a.asked.map(({ method }) => method)).toContain('stay');
  });

  it('C137: what a call is made for bounds its time, its end and its place; what is not open is refused', async () => {
    const a = world.actor('a');
    const b = world.actor('b');
    const c = world.actor('c');
    b.offer(['m']);
    c.offer(['m']);
    expect(await reason(b.call('c', 'm', { forInvocation: 1n }))).toBe('INVALID_REQUEST');
    const end = new AbortController();
    const outer = reason(a.call('b', 'm', { timeoutMs: 1_000, signal: end.signal }));
    const { id } = await asked(b);
    await soon();
    const inner = reason(b.call('c', 'm', { timeoutMs: 60_000, forInvocation: id }));
    const heard = await asked(c);
    expect(heard.depth).toBe(2);
    expect(heard.timeoutMs).toBeLessThan(1_000);
    expect(heard.timeoutMs).toBeGreaterThan(0);
    end.abort(new HostError('CANCELLED', 'the caller cancelled'));
    expect(await outer).toBe('CANCELLED');
    expect(await inner).toBe('CANCELLED');
    await expect.poll(() => heard.cancelled.aborted).toBe(true);
    // an id of a stream that is over, and one that was answered
    expect(await reason(b.call('c', 'm', { forInvocation: id }))).toBe('INVALID_REQUEST');

    const short = reason(a.call('b', 'm', { timeoutMs: 400 }));
    const { id: second } = await asked(b, 2);
    const late = reason(b.call('c', 'm', { timeoutMs: 60_000, forInvocation: second }));
    expect(await short).toBe('DEADLINE_EXCEEDED');
    expect(await late).toBe('DEADLINE_EXCEEDED');

    // a module that has answered has nobody left to call for
    const third = reason(a.call('b', 'm'));
    const { id: answered } = await asked(b, 3);
    const orphan = reason(b.call('c', 'm', { forInvocation: answered }));
    await asked(c, 3);
    b.answer(answered, result());
    expect(await third).toBe('OK');
    expect(await orphan).toBe('CANCELLED');
    expect(b.violations() + c.violations()).toBe(0);
  });

  it('hands the trace context on from what the call is made for', async () => {
    const b = world.actor('b');
    const c = world.actor('c');
    c.offer(['m']);
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    // no API call but a command, as any kind of work may be what a call is made for
    const command = b.session.invocations.ask(
      {
        $case: 'api',
        value: {
          method: 'x',
          params: new Uint8Array(0),
          caller: 'z',
          callerVersion: '1.0.0',
          callerGranted: [],
          depth: 1,
        },
      },
      { timeoutMs: 5_000, traceParent: trace },
    );
    const { id } = await asked(b);
    const call = b.call('c', 'm', { forInvocation: id });
    expect(await asked(c)).toMatchObject({ traceParent: trace, depth: 1 });
    c.answer(1n, result());
    await call;
    b.answer(id, result());
    await command;
  });

  it(`C134: ${SHARE} calls of one caller that nobody answers end at their deadlines; its next is refused at once, another's is not`, async () => {
    const [a, c] = [world.actor('a'), world.actor('c')];
    const b = world.actor('b');
    b.offer(['m', 'good']);
    const calls = Array.from({ length: SHARE }, () => reason(a.call('b', 'm', { timeoutMs: 200 })));
    await expect(a.call('b', 'm')).rejects.toMatchObject({ reason: 'TOO_MANY_CALLS', retryAfterMs: 100 });
    const other = c.call('b', 'good');
    expect(world.router.counts().calls).toBe(SHARE + 1);
    const { id } = await asked(b, SHARE + 1);
    b.answer(id, result());
    expect(await other).toEqual(result());
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['DEADLINE_EXCEEDED']));
    expect(world.router.counts().calls).toBe(0);
    expect(b.session.invocations.open()).toBe(0);
  });

  it('C135: the end of the caller reaches the called, the end of the called the caller', async () => {
    const a = world.actor('a');
    const b = world.actor('b');
    b.offer(['m']);
    const first = reason(a.call('b', 'm'));
    const { cancelled } = await asked(b);
    a.session.close(over());
    expect(await first).toBe('SESSION_CLOSED');
    await expect.poll(() => cancelled.aborted).toBe(true);
    a.open();
    const second = a.call('b', 'm');
    await asked(b, 2);
    b.session.close(over());
    await expect(second).rejects.toMatchObject({ reason: 'MODULE_UNAVAILABLE', retryAfterMs: 100 });
  });

  it('C136: parameters over the limit do not reach the called', async () => {
    const a = world.actor('a');
    const b = world.actor('b');
    b.offer(['m']);
    const params = new Uint8Array(MAX_WORK_BYTES + 1);
    expect(await reason(a.call('b', 'm', { params }))).toBe('MESSAGE_TOO_LARGE');
    await soon();
    expect(b.asked).toEqual([]);
  });
});
