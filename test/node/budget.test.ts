import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { createNodeBudget, MAX_WAITING_PER_MODULE } from '../../src/node/budget.js';
import type { NodeApi } from '../../src/node/node-api.js';

/** One call that has reached the node. */
interface Reached {
  height: number;
  signal: AbortSignal;
  answer(): void;
  fail(error: Error): void;
}

/** A node whose calls are answered by hand, in the order in which they reached it. */
function createSlowNode() {
  const reached: Reached[] = [];
  const getHash = (height: number, signal: AbortSignal): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      reached.push({ height, signal, answer: () => resolve(new Uint8Array(32)), fail: reject });
    });
  return { reached, node: { chain: { getHash } } as unknown as NodeApi };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const never = new AbortController().signal;
// calls of a test share it, where a module's have one each
setMaxListeners(0, never);
const reasonOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => HostError.from(error).reason,
  );

/** A budget of `places`, and modules that ask for the blocks of heights of their own: alpha 1,000 and up, beta 2,000 … */
function createRig(places: number | undefined) {
  const { node, reached } = createSlowNode();
  const budget = createNodeBudget(node, places);
  const ask = (module: string, height: number, signal: AbortSignal = never): Promise<string> =>
    reasonOf(budget.forModule(module).chain.getHash(height, signal));
  const heights = (): number[] => reached.map(({ height }) => height);
  return { budget, reached, ask, heights };
}

describe('the budget of calls to the node', () => {
  it('lets no more through at once than it has places, whoever asks', async () => {
    const { reached, ask, heights, budget } = createRig(2);
    const all = [1, 2, 3, 4, 5].map((height) => ask(`module-${height}`, height));
    for (let done = 0; done < 5; done++) {
      await settled();
      expect(heights()).toHaveLength(Math.min(5, done + 2));
      expect([...budget.usage().values()].reduce((sum, { running }) => sum + running, 0)).toBeLessThanOrEqual(2);
      reached[done]?.answer();
    }
    expect(await Promise.all(all)).toEqual(['OK', 'OK', 'OK', 'OK', 'OK']);
    expect(budget.usage().size).toBe(0);
  });

  it('gives a quiet module its turn beside one that floods', async () => {
    const { reached, ask, heights } = createRig(2);
    const flood = Array.from({ length: 40 }, (_, i) => ask('alpha', 1_000 + i));
    await settled();
    const quiet = ask('beta', 2_000);
    await settled();
    expect(heights()).toEqual([1_000, 1_001]);
    // one round of turns: alpha stood there first, then it is beta's
    reached[0]?.answer();
    reached[1]?.answer();
    await settled();
    expect(heights().slice(2)).toEqual([1_002, 2_000]);
    for (let next = 2; next < 41; next++) {
      reached[next]?.answer();
      await settled();
    }
    expect(await quiet).toBe('OK');
    expect(new Set(await Promise.all(flood))).toEqual(new Set(['OK']));
  });

  it('deals the places out in rounds, each module’s own calls in their order', async () => {
    const { reached, ask, heights } = createRig(1);
    const all = ['alpha', 'beta', 'gamma'].flatMap((module, m) =>
      [0, 1, 2].map((i) => ask(module, (m + 1) * 1_000 + i)),
    );
    for (let done = 0; done < 9; done++) {
      await settled();
      reached[done]?.answer();
    }
    await Promise.all(all);
    expect(heights()).toEqual([1_000, 1_001, 2_000, 3_000, 1_002, 2_001, 3_001, 2_002, 3_002]);
  });

  it('frees the place in the line when a waiting call is aborted, without asking the node', async () => {
    const { reached, ask, heights, budget } = createRig(1);
    const first = ask('alpha', 1_000);
    const stop = new AbortController();
    const waiting = ask('beta', 2_000, stop.signal);
    const behind = ask('gamma', 3_000);
    await settled();
    expect(budget.usage().get('beta')).toEqual({ running: 0, waiting: 1 });
    stop.abort(new HostError('CANCELLED', 'gone'));
    expect(await waiting).toBe('CANCELLED');
    expect(budget.usage().has('beta')).toBe(false);
    reached[0]?.answer();
    await settled();
    expect(heights()).toEqual([1_000, 3_000]);
    reached[1]?.answer();
    expect(await Promise.all([first, behind])).toEqual(['OK', 'OK']);
    expect(await ask('beta', 2_001, stop.signal)).toBe('CANCELLED');
    expect(budget.usage().size).toBe(0);
  });

  it('refuses with NODE_BUSY and a time what finds its module’s line full, and nobody else', async () => {
    const { reached, ask, budget } = createRig(1);
    const lines = Array.from({ length: 1 + MAX_WAITING_PER_MODULE }, (_, i) => ask('alpha', 1_000 + i));
    const refused = await budget
      .forModule('alpha')
      .chain.getHash(1_999, never)
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ reason: 'NODE_BUSY' });
    expect((refused as HostError).retryAfterMs).toBeGreaterThan(0);
    const other = ask('beta', 2_000);
    await settled();
    expect(budget.usage().get('alpha')).toEqual({ running: 1, waiting: MAX_WAITING_PER_MODULE });
    for (let next = 0; next < 2 + MAX_WAITING_PER_MODULE; next++) {
      reached[next]?.answer();
      await settled();
    }
    expect(await other).toBe('OK');
    expect(new Set(await Promise.all(lines))).toEqual(new Set(['OK']));
  });

  it('carries the cancellation to the node’s call, and keeps the place until that has ended', async () => {
    const { reached, ask, heights, budget } = createRig(1);
    const stop = new AbortController();
    const call = ask('alpha', 1_000, stop.signal);
    const next = ask('beta', 2_000);
    await settled();
    expect(reached[0]?.signal).toBe(stop.signal);
    stop.abort(new HostError('CANCELLED', 'gone'));
    await settled();
    expect(heights()).toEqual([1_000]);
    expect(budget.usage().get('alpha')).toEqual({ running: 1, waiting: 0 });
    reached[0]?.fail(stop.signal.reason as Error);
    expect(await call).toBe('CANCELLED');
    await settled();
    expect(heights()).toEqual([1_000, 2_000]);
    reached[1]?.answer();
    expect(await next).toBe('OK');
  });

  it('lets everything through where the node needs no budget', async () => {
    const { reached, ask } = createRig(undefined);
    const all = Array.from({ length: 500 }, (_, i) => ask('alpha', i));
    await settled();
    expect(reached).toHaveLength(500);
    for (const { answer } of reached) answer();
    expect(new Set(await Promise.all(all))).toEqual(new Set(['OK']));
  });

  it('refuses before it counts while the node was never reached', async () => {
    const { node, reached } = createSlowNode();
    const budget = createNodeBudget(node, 1, () => {
      throw new HostError('NODE_UNAVAILABLE', 'not yet');
    });
    expect(await reasonOf(budget.forModule('alpha').chain.getHash(1, never))).toBe('NODE_UNAVAILABLE');
    expect(reached).toEqual([]);
    expect(budget.usage().size).toBe(0);
  });

  it('holds its invariants over random arrivals, answers and cancellations', async () => {
    const seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);
    process.stdout.write(`budget.test seed ${seed}\n`);
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const places = 3;
    const { reached, ask, budget } = createRig(places);
    const calls: Promise<string>[] = [];
    const stops: AbortController[] = [];
    let open: Reached[] = [];
    let seen = 0;
    for (let step = 0; step < 2_000; step++) {
      const what = random(10);
      if (what < 5) {
        const stop = new AbortController();
        stops.push(stop);
        calls.push(ask(`module-${random(4)}`, step, stop.signal));
      } else if (what < 8 && open.length > 0) {
        open.splice(random(open.length), 1)[0]?.answer();
      } else if (stops.length > 0) {
        stops[random(stops.length)]?.abort(new HostError('CANCELLED', 'gone'));
      }
      await settled();
      open = [...open, ...reached.slice(seen)];
      seen = reached.length;
      const usage = [...budget.usage().values()];
      const running = usage.reduce((sum, line) => sum + line.running, 0);
      const waiting = usage.reduce((sum, line) => sum + line.waiting, 0);
      expect(running).toBe(open.length);
      expect(running).toBeLessThanOrEqual(places);
      // nobody waits beside a free place
      if (waiting > 0) expect(running).toBe(places);
    }
    while (open.length > 0) {
      for (const call of open) call.answer();
      await settled();
      open = reached.slice(seen);
      seen = reached.length;
    }
    const outcomes = new Set(await Promise.all(calls));
    expect([...outcomes].every((outcome) => ['OK', 'CANCELLED', 'NODE_BUSY'].includes(outcome))).toBe(true);
    expect(budget.usage().size).toBe(0);
  });
});
