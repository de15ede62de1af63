import { afterEach, describe, expect, it } from 'vitest';
import { HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import { StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { type Handlers, InvocationError, InvocationFailureKind, type Module } from '../../src/sdk/index.js';
import type { InvocationOutcome, InvocationWork } from '../../src/session/invocations.js';
import { createSdkRig, type SdkRig } from './sdk-rig.js';

let rig: SdkRig;
afterEach(() => rig.dispose());

const LONG = { timeoutMs: 30_000 };
const begin = async (handlers: Handlers, maxConcurrent?: number): Promise<Module> => {
  rig = await createSdkRig();
  const module = await rig.connect();
  module.serve(handlers, maxConcurrent);
  await serving();
  return module;
};
const serving = () => expect.poll(() => rig.life.session.invocations.serving(), { timeout: 10_000 }).toBe(true);
const ask = (work: InvocationWork, options = {}): Promise<InvocationOutcome> =>
  rig.life.session.invocations.ask(work, { ...LONG, ...options });
const reason = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => HostError.from(error).reason,
  );
const api = (text: string, caller = 'c'): InvocationWork => ({
  $case: 'api',
  value: { method: text, params: Buffer.from(text), caller, callerVersion: '1.0.0', callerGranted: [], depth: 1 },
});

describe('serving invocations with the SDK', () => {
  it('answers every kind by its handler, many at a time, in any order', async () => {
    const module = await begin({
      health: () => ({ status: HealthStatus.HEALTHY, message: 'fine' }),
      rpc: ({ paramsJson }) => ({ resultJson: paramsJson }),
      cli: ({ args }) => ({ stdout: Buffer.from(args.join()), stderr: Buffer.of(), exitCode: 3 }),
      api: async ({ params }, { timeLeftMs }) => {
        await new Promise((resolve) => setTimeout(resolve, Number(params.toString())));
        expect(timeLeftMs()).toBeGreaterThan(0);
        return { result: params };
      },
      timer: () => {},
      task: () => {},
      configChange: () => {},
      migrate: () => {},
    });
    const rpc: InvocationWork = { $case: 'rpc', value: { method: 'm', paramsJson: '[1.10]', coreOverride: false } };
    expect(await ask(rpc)).toEqual({ $case: 'rpc', value: { resultJson: '[1.10]' } });
    const cli: InvocationWork = {
      $case: 'cli',
      value: { subcommand: 's', args: ['a', 'b'], terminal: false, columns: 0 },
    };
    expect(await ask(cli)).toMatchObject({ value: { stdout: Buffer.from('a,b'), exitCode: 3 } });
    expect(await ask({ $case: 'health', value: {} })).toEqual({
      $case: 'health',
      value: { report: { status: HealthStatus.HEALTHY, message: 'fine', checks: [] } },
    });
    const ticks: InvocationWork[] = [
      { $case: 'timer', value: { timerId: 1n, name: '', tick: 1n, missed: 0n } },
      { $case: 'task', value: { taskId: 1n, name: '', payload: new Uint8Array(0) } },
      { $case: 'configChange', value: { configJson: '{}', changedKeys: [] } },
      { $case: 'migrate', value: { fromVersion: '1.0.0', fromSchema: 1, toSchema: 2 } },
    ];
    for (const work of ticks) expect(await ask(work)).toEqual({ $case: 'done', value: {} });
    const waits = ['80', '10', '40', '1'];
    const answers = await Promise.all(waits.map((text) => ask(api(text))));
    expect(answers).toEqual(waits.map((text) => ({ $case: 'api', value: { result: Buffer.from(text) } })));
    expect(rig.life.session.violations()).toBe(0);
    expect(() => module.serve({})).toThrow();
  });

  it('answers what it has no handler for with UNSUPPORTED, and what a handler throws with a failure', async () => {
    await begin({
      rpc: () => {
        throw new InvocationError(InvocationFailureKind.INVALID_PARAMS, 'not a number', { code: -5, dataJson: '1' });
      },
      api: () => Promise.reject(new Error('no peers')),
    });
    const rpc: InvocationWork = { $case: 'rpc', value: { method: 'm', paramsJson: '', coreOverride: false } };
    const kind = async (work: InvocationWork) => (await ask(work)).value;
    expect(await kind(rpc)).toMatchObject({ kind: InvocationFailureKind.INVALID_PARAMS, code: -5, dataJson: '1' });
    expect(await kind(api('x'))).toMatchObject({ kind: InvocationFailureKind.FAILED, message: 'no peers' });
    expect(await kind({ $case: 'health', value: {} })).toMatchObject({ kind: InvocationFailureKind.UNSUPPORTED });
  });

  it('C135: tells a handler that its caller has gone or its deadline has passed, and answers nothing then', async () => {
    const aborted: string[] = [];
    await begin({
      api: ({ method }, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            aborted.push(`${method} ${(signal.reason as { reason: string }).reason}`);
            reject(new Error('given up'));
          });
        }),
    });
    const caller = new AbortController();
    const given = reason(ask(api('cancel'), { signal: caller.signal }));
    setTimeout(() => caller.abort(), 50);
    expect(await given).toBe('CANCELLED');
    expect(await reason(ask(api('deadline'), { timeoutMs: 60 }))).toBe('DEADLINE_EXCEEDED');
    await expect.poll(() => aborted.length).toBe(2);
    expect(aborted[0]).toBe('cancel CANCELLED');
    expect(await ask({ $case: 'stop', value: { reason: StopReason.UNLOAD, graceMs: 1 } })).toMatchObject({
      $case: 'done',
    });
    expect(rig.life.session.violations()).toBe(0);
  });

  it('keeps to the bound that the module named', async () => {
    let open = 0;
    let most = 0;
    await begin(
      {
        async api() {
          open += 1;
          most = Math.max(most, open);
          await new Promise((resolve) => setTimeout(resolve, 5));
          open -= 1;
          return { result: new Uint8Array(0) };
        },
      },
      3,
    );
    // the bound goes with the first message of the stream
    await new Promise((resolve) => setTimeout(resolve, 100));
    // of two callers: one alone leaves a place to others
    await Promise.all(Array.from({ length: 40 }, (_, index) => ask(api(String(index), `caller-${index % 2}`))));
    expect(most).toBe(3);
  });

  it('opens its stream anew when it breaks, and with a host that has begun anew, saying Ready again', async () => {
    const module = await begin({ api: ({ params }) => ({ result: params }) });
    await module.ready();
    const { session, server } = rig.life;
    server.dropConnections();
    await expect.poll(() => session.invocations.serving()).toBe(false);
    await serving();
    expect(await ask(api('a'))).toMatchObject({ $case: 'api' });
    await rig.crash();
    await rig.revive();
    await serving();
    expect(await ask(api('b'))).toMatchObject({ $case: 'api' });
    await expect.poll(() => rig.life.readies).toBe(1);
  });

  it('fires `ended` at the wish to stop when the module has no handler, and at the end of the session', async () => {
    const module = await begin({});
    await ask({ $case: 'stop', value: { reason: StopReason.UNLOAD, graceMs: 1 } });
    expect(module.ended.aborted).toBe(true);
    await rig.dispose();
    const other = await begin({ stop: () => {} });
    await ask({ $case: 'stop', value: { reason: StopReason.UNLOAD, graceMs: 1 } });
    expect(other.ended.aborted).toBe(false);
    rig.life.session.close(new HostError('SESSION_CLOSED', 'over'));
    await expect.poll(() => other.ended.aborted).toBe(true);
  });

  it('hands over what it has answered before it closes', async () => {
    const module = await begin({
      async api({ params }) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        return { result: params };
      },
    });
    const asked = ask(api('last'));
    await expect.poll(() => rig.life.session.invocations.open()).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 30));
    await module.close();
    expect(await asked).toMatchObject({ $case: 'api' });
    await expect.poll(() => rig.life.session.invocations.serving()).toBe(false);
  });
});
