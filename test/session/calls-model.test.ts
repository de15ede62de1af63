import { expect, it } from 'vitest';
import type { InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import { MAX_CALL_DEPTH } from '../../src/session/calls.js';
import { type Actor, type Asked, createCallWorld, over, reason, result } from './call-world.js';

/** What a call between modules that behave as they like may come to. */
const OUTCOMES = new Set([
  ...['OK', 'MODULE_NOT_FOUND', 'MODULE_UNAVAILABLE', 'METHOD_NOT_FOUND', 'CALLER_NOT_ALLOWED', 'INCOMPATIBLE'],
  ...['CALL_DEPTH', 'INVALID_REQUEST', 'TOO_MANY_CALLS', 'DEADLINE_EXCEEDED', 'CANCELLED', 'SESSION_CLOSED'],
  'PROTOCOL_VIOLATION',
]);
const ROUNDS = 400;

/** Mulberry32: numbers in [0, 1) that a seed repeats. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

it('C134: whatever modules do to one another’s calls, each call ends once and nothing of it is kept', async () => {
  const seed = Number(process.env.MODHOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  process.stdout.write(`calls model: MODHOST_TEST_SEED=${seed}\n`);
  const random = randomOf(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T;

  const world = createCallWorld();
  const names = Array.from({ length: 6 }, (_, index) => `m${index}`);
  const methods = ['p', 'q', 'r'];
  const calls: Promise<string>[] = [];
  const faults: string[] = [];
  let nested = 0;

  const call = (actor: Actor, parent?: Asked): Promise<string> => {
    const end = new AbortController();
    if (random() < 0.2) setTimeout(() => end.abort(), below(60));
    const made = reason(
      actor.call(pick([...names, 'nobody']), pick([...methods, 'none']), {
        timeoutMs: 1 + below(120),
        signal: end.signal,
        minVersion: below(3),
        ...(parent === undefined ? {} : { forInvocation: random() < 0.9 ? parent.id : parent.id + BigInt(below(3)) }),
      }),
    );
    calls.push(made);
    return made;
  };

  const behave = async (actor: Actor, asked: Asked): Promise<void> => {
    if (asked.depth > MAX_CALL_DEPTH) faults.push(`depth ${asked.depth}`);
    if (asked.caller === actor.name) faults.push(`${actor.name} was called by itself`);
    if (asked.timeoutMs > 120) faults.push(`${asked.timeoutMs} ms are more than any caller had`);
    const act = random();
    // the parts of a chain run at once, several levels deep
    for (let count = below(3); count > 0 && nested < 5_000; count -= 1) {
      nested += 1;
      const inner = call(actor, random() < 0.7 ? asked : undefined);
      if (random() < 0.6) await inner;
    }
    if (act < 0.15) return;
    await new Promise((resolve) => setTimeout(resolve, below(40)));
    if (act < 0.6) actor.answer(asked.id, result());
    else if (act < 0.7) {
      const kind = below(9) as InvocationFailureKind;
      actor.answer(asked.id, {
        $case: 'failure',
        value: { kind, code: 1, message: '', dataJson: '', retryAfterMs: 0 },
      });
    } else if (act < 0.75) {
      actor.answer(asked.id, result());
      actor.answer(asked.id, result());
    } else if (act < 0.8) actor.answer(asked.id, { $case: 'done', value: {} });
    else if (act < 0.85) actor.answer(asked.id, undefined);
    else if (act < 0.9) actor.answer(asked.id + BigInt(below(5)), result());
    else if (act < 0.93) {
      actor.session.close(over());
      actor.open();
      actor.offer(methods, { version: 1 + below(2) });
    } else if (act < 0.96) world.router.withdraw(actor.session);
    else actor.offer([pick(methods)], { callers: [pick(names)] });
  };

  for (const name of names) world.actor(name, (actor, asked) => void behave(actor, asked)).offer(methods);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const actor of world.actors()) if (random() < 0.5) void call(actor);
    if (random() < 0.05) pick(world.actors()).offer(methods);
    if (round % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (let done = 0; done < calls.length; ) {
    const batch = calls.slice(done);
    done = calls.length;
    for (const outcome of await Promise.all(batch)) if (!OUTCOMES.has(outcome)) faults.push(outcome);
  }
  expect(faults).toEqual([]);
  expect(new Set(await Promise.all(calls)).size).toBeGreaterThan(5);
  expect(world.router.counts().calls).toBe(0);
  for (const { session } of world.actors()) expect(session.invocations.open()).toBe(0);
  world.close();
  expect(world.router.counts()).toEqual({ offers: 0, calls: 0 });
}, 30_000);
