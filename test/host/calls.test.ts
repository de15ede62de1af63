import { Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { Permission } from '../../gen/ts/modhost/v1/permission.js';
import { ModuleFailure } from '../../src/sdk/index.js';
import { shareOf } from '../../src/session/caller-turns.js';
import { MAX_CALL_DEPTH } from '../../src/session/calls.js';
import { MAX_PENDING_INVOCATIONS } from '../../src/session/invocation-desk.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { type CallHost, createCallHost, pythonPeer, stubsToolchain } from './calls/call-host.js';
import { reason, until } from './spawned-host.js';

const { skip } = await sandboxToolchain();
const { skip: skipStubs } = stubsToolchain();

/** Calls in a row whose time is told; 1,000 for a figure that means something. */
const CALLS = Number(process.env.MODHOST_TEST_CALLS ?? 100);

/** Open calls of one caller when nobody else calls. */
const SHARE = shareOf(MAX_PENDING_INVOCATIONS, 0);

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** An order for `relay`: each step calls the next, the last one does `end`. */
const chain = (targets: readonly string[], end: string, more: object = {}, params: unknown = {}): unknown =>
  targets.reduceRight<unknown>(
    (inner, target, index) => ({
      target,
      method: index === targets.length - 1 ? end : 'relay',
      params: inner,
      ...more,
    }),
    params,
  );

/** What each hop of a relayed call told, the outermost first. */
const hops = (told: Record<string, unknown>): Record<string, unknown>[] =>
  told.inner === undefined ? [told] : [told, ...hops(told.inner as Record<string, unknown>)];

describe.skipIf(skip || skipStubs)('calls between modules in two languages', () => {
  let rig: CallHost;
  beforeAll(async () => {
    rig = await createCallHost({
      python: {
        py: pythonPeer(),
        narrow: pythonPeer({
          env: { OFFERED: 'facts' },
          manifest: 'capabilities = ["register_module_api"]\n[api]\nmethods = ["facts"]\nallowed_callers = ["ts"]\n',
        }),
        closed: pythonPeer({ env: { OFFERED: 'facts' } }),
      },
      typescript: ['ts'],
      more: { modules: { closed: { allowedCallers: ['ts'] } } },
    });
    await Promise.all(['py', 'ts', 'narrow', 'closed'].map((name) => rig.host.load(name)));
  }, 60_000);
  afterAll(() => rig?.dispose());

  const call = (target: string, method: string, timeoutMs = 20_000): Promise<unknown> =>
    rig.driver.call(target, method, bytes('x'), { timeoutMs });

  it('discovers modules page by page, and tells whether a call could succeed', async () => {
    const { modules } = rig.driver.clients;
    const names: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await modules.discover({ pageSize: 2, pageToken });
      expect(page.modules.length).toBeLessThanOrEqual(2);
      names.push(...page.modules.map(({ name }) => name));
      pageToken = page.nextPageToken;
      if (pageToken === '') break;
    }
    expect(names).toEqual(['closed', 'driver', 'narrow', 'py', 'ts']);
    expect((await modules.getModule({ name: 'ts' })).module).toMatchObject({
      name: 'ts',
      version: '1.0.0',
      state: ModuleState.RUNNING,
      capabilities: ['call_module', 'discover_modules', 'register_module_api'],
      apiVersion: 1,
      apiMethods: ['facts', 'hang', 'relay'],
    });
    expect(await modules.isAvailable({ name: 'py' })).toEqual({ available: true, state: ModuleState.RUNNING });
    expect(await modules.isAvailable({ name: 'nobody' })).toEqual({ available: false, state: 0 });
    // it is Ready and serves nothing
    expect(await modules.isAvailable({ name: 'driver' })).toMatchObject({ available: false });
    await expect(modules.getModule({ name: 'tss' })).rejects.toMatchObject({ reason: 'MODULE_NOT_FOUND' });
    await expect(modules.getModule({ name: 'tss' })).rejects.toThrow('ts?');
    for (const [request, refusal] of [
      [{ pageToken: 'after:../x' }, 'INVALID_REQUEST'],
      [{ pageSize: 1_001 }, 'OUT_OF_RANGE'],
    ] as const) {
      expect(await reason(modules.discover(request))).toBe(refusal);
    }
    expect(rig.host.list().find(({ name }) => name === 'py')).toMatchObject({ apiVersion: 2, provides: [] });
  });

  it('C131, C132: the called hears who calls and what that one may do, whatever the caller says', async () => {
    const granted = [
      Permission.READ_CHAIN_STATE,
      ...[Permission.READ_LIGHTNING, Permission.READ_PAYMENT, Permission.READ_GOVERNANCE, Permission.VOTE_GOVERNANCE],
      ...[Permission.DISCOVER_MODULES, Permission.CALL_MODULE, Permission.REGISTER_MODULE_API],
    ];
    const forged = new Metadata();
    for (const key of ['caller', 'modhost-caller', 'modhost-module-id', 'x-forwarded-for', 'caller-granted']) {
      forged.set(key, 'ts');
    }
    const request = { target: 'py', method: 'facts', params: bytes('{}'), minApiVersion: 2, forInvocation: 0n };
    for (const target of ['py', 'ts']) {
      const { outcome } = (await unary((cb) =>
        rig.raw.call({ ...request, target, minApiVersion: 1 }, forged, cb as never),
      )) as { outcome: { value: Uint8Array } };
      const heard = JSON.parse(new TextDecoder().decode(outcome.value));
      expect(heard).toMatchObject({ caller: 'driver', version: '1.0.0', depth: 1 });
      expect([...heard.granted].sort()).toEqual([...granted].sort());
    }
    // through another module the middle one is the caller, and its grants count
    const [, last] = hops(await rig.ask('ts', 'relay', { target: 'py', method: 'facts' }));
    expect(last).toMatchObject({ caller: 'ts', depth: 2 });
    expect(last?.granted).not.toContain(Permission.READ_LIGHTNING);
    // one who may call nobody
    expect(await reason(rig.driver.call('py', 'facts', bytes('{}'), { minApiVersion: 3 }))).toBe('INCOMPATIBLE');
  });

  it('C130: nobody answers under another’s name, and no name but the registered one is answered', async () => {
    const { modules } = rig.driver.clients;
    const register = (more: object) => reason(modules.registerApi({ methods: ['m'], apiVersion: 1, ...more }));
    for (const method of ['', 'py.facts', 'py/facts', 'Facts', '_x', '1x', 'a b', 'a\nb', 'é', 'x'.repeat(65)]) {
      expect([method, await register({ methods: [method] })]).toEqual([method, 'INVALID_REQUEST']);
    }
    expect(await register({ methods: [] })).toBe('FIELD_REQUIRED');
    expect(await register({ methods: ['m', 'm'] })).toBe('INVALID_REQUEST');
    expect(await register({ methods: Array.from({ length: 65 }, (_, index) => `m${index}`) })).toBe('QUOTA_EXCEEDED');
    expect(await register({ apiVersion: 0 })).toBe('OUT_OF_RANGE');
    expect(await register({ allowedCallers: ['PY'] })).toBe('INVALID_REQUEST');
    expect(await register({ allowedCallers: ['py', 'py'] })).toBe('INVALID_REQUEST');
    expect(await reason(modules.unregisterApi())).toBe('NOT_FOUND');
    // the same names as another module’s: they are its own, and take nothing from the other
    expect(await register({ methods: ['facts', 'hang', 'getblock', 'x'.repeat(64)] })).toBe('OK');
    expect(await rig.ask('py', 'facts')).toMatchObject({ caller: 'driver' });
    expect(await reason(modules.unregisterApi())).toBe('OK');
    expect(await reason(call('py', 'getblock'))).toBe('METHOD_NOT_FOUND');
  });

  it('C129: what cannot be called is refused by its reason', async () => {
    expect(await reason(call('driver', 'facts'))).toBe('CALL_DEPTH');
    expect(await reason(call('', 'facts'))).toBe('FIELD_REQUIRED');
    expect(await reason(call('py', ''))).toBe('FIELD_REQUIRED');
    expect(await reason(call('pi', 'facts'))).toBe('MODULE_NOT_FOUND');
    // the manifest’s list, and the operator’s
    for (const target of ['narrow', 'closed']) {
      expect(await reason(call(target, 'facts'))).toBe('CALLER_NOT_ALLOWED');
      expect(hops(await rig.ask('ts', 'relay', { target, method: 'facts' })).at(-1)).toMatchObject({ caller: 'ts' });
    }
    const unasked = rig.driver.call('py', 'facts', bytes('{}'), {
      invocation: { id: 99n, signal: AbortSignal.timeout(9_000), traceParent: '', timeLeftMs: () => 9_000 },
    });
    expect(await reason(unasked)).toBe('INVALID_REQUEST');
  });

  it('tells each failure of the called as the contract says', async () => {
    const failure = await call('py', 'fail').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ModuleFailure);
    expect(failure).toMatchObject({ code: -7, invalidParams: false, message: 'as it was told' });
    await expect(call('py', 'bad_params')).rejects.toMatchObject({ code: -7, invalidParams: true });
    await expect(call('py', 'busy')).rejects.toMatchObject({ reason: 'MODULE_UNAVAILABLE', retryAfterMs: 321 });
    expect(await reason(call('py', 'gone'))).toBe('METHOD_NOT_FOUND');
    expect(await reason(call('py', 'unsupported'))).toBe('METHOD_NOT_FOUND');
    expect(await reason(call('py', 'not_you'))).toBe('CALLER_NOT_ALLOWED');
    expect(await reason(call('py', 'given_up'))).toBe('CANCELLED');
  });

  it('C133: answers given twice, to nobody, of another kind, empty or late are counted and reach no other caller', async () => {
    const hanging = reason(call('py', 'hang', 3_000));
    await rig.said('py', 'began x');
    const before = rig.violations('py');
    expect(await rig.ask('py', 'twice')).toEqual({ first: true });
    expect(await rig.ask('py', 'foreign')).toEqual({});
    expect(await reason(call('py', 'wrong'))).toBe('INTERNAL');
    expect(await reason(call('py', 'nothing'))).toBe('INTERNAL');
    expect(await reason(call('py', 'late', 200))).toBe('DEADLINE_EXCEEDED');
    await until('the count', () => rig.violations('py') === before + 8n);
    expect(rig.violations('ts')).toBe(0n);
    expect(await hanging).toBe('DEADLINE_EXCEEDED');
    expect(await rig.ask('py', 'facts')).toMatchObject({ caller: 'driver' });
  });

  it('C136: an answer over the limit costs its call and the stream, and the next stream serves', async () => {
    expect(await reason(call('py', 'huge'))).toBe('MESSAGE_TOO_LARGE');
    await rig.said('py', 'serve ended');
    await until('the stream', () => rig.host.list().some(({ name, responsive }) => name === 'py' && responsive));
    await expect.poll(() => reason(call('py', 'facts')), { timeout: 10_000 }).toBe('OK');
    const params = new Uint8Array(4 * 1024 * 1024 - 32 * 1024);
    expect(await reason(rig.driver.call('py', 'facts', params))).toBe('MESSAGE_TOO_LARGE');
  });

  it(`C128: recursion ends at depth ${MAX_CALL_DEPTH}, a circle at its first turn, and all is let go`, async () => {
    const names = ['py', 'ts', 'py', 'ts', 'py', 'ts', 'py', 'ts', 'py', 'ts'];
    const deep = hops(await rig.ask('ts', 'relay', chain(names, 'facts')));
    expect(deep.map(({ depth }) => depth)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(deep.at(-1)).toMatchObject({ reason: 'CALL_DEPTH' });
    const circle = hops(await rig.ask('ts', 'relay', chain(names, 'facts', { bind: true })));
    expect(circle.map(({ depth }) => depth)).toEqual([1, 2]);
    expect(circle.at(-1)).toMatchObject({ reason: 'CALL_DEPTH' });
    expect(await rig.ask('py', 'facts')).toMatchObject({ depth: 1 });
  });

  it('C137: along a chain of three the time left shrinks, however much each asks for', async () => {
    const order = chain(['py', 'narrow'], 'facts', { bind: true, timeout_ms: 60_000 });
    const refused = hops(await rig.ask('ts', 'relay', order, 4_000));
    // narrow takes calls of ts alone
    expect(refused.at(-1)).toMatchObject({ reason: 'CALLER_NOT_ALLOWED', depth: 2 });
    const told = hops(await rig.ask('py', 'relay', chain(['ts', 'narrow'], 'facts', { bind: true }), 4_000));
    const left = told.map(({ left_ms }) => Number(left_ms));
    expect(told.map(({ depth }) => depth)).toEqual([1, 2, 3]);
    expect(left[0]).toBeLessThanOrEqual(4_000);
    expect(left[1]).toBeLessThanOrEqual(left[0] as number);
    expect(left[2]).toBeLessThanOrEqual(left[1] as number);
    expect(left[2]).toBeGreaterThan(0);
  });

  it('C135: the caller cancels, and the end of a chain of three hears it', async () => {
    const end = new AbortController();
    const given = reason(
      rig.driver.call('ts', 'relay', bytes(JSON.stringify(chain(['py'], 'hang', { bind: true }, 'far'))), {
        signal: end.signal,
      }),
    );
    await rig.said('py', 'began "far"');
    const began = Date.now();
    end.abort();
    expect(await given).toBe('CANCELLED');
    const [, , heard] = await rig.said('py', 'cancelled "far"');
    process.stdout.write(`a cancel reached the end of a chain of three in ${Math.round(Number(heard) - began)} ms\n`);
  });

  it(`C134: ${SHARE} calls of one caller that nobody answers end at their deadlines, its next is refused, another's is answered`, async () => {
    // on a busy machine the first are over before the last have come; then all have more time
    for (const deadlineMs of [1_500, 6_000, 24_000]) {
      const hanging = Array.from({ length: SHARE }, () => reason(call('py', 'hang', deadlineMs)));
      let isOver = false;
      const all = Promise.all(hanging).finally(() => {
        isOver = true;
      });
      let refused = 'OK';
      while (!isOver && refused !== 'TOO_MANY_CALLS') refused = await reason(call('py', 'facts'));
      // the same call by way of another module, whose share nobody has touched
      const other = await rig.ask('ts', 'relay', chain(['py'], 'facts'));
      const isBeside = !isOver;
      const outcomes = new Set(await all);
      if ((refused !== 'TOO_MANY_CALLS' || !isBeside) && deadlineMs < 24_000) continue;
      expect(refused).toBe('TOO_MANY_CALLS');
      expect(other.inner).toMatchObject({ caller: 'ts' });
      expect(outcomes).toEqual(new Set(['DEADLINE_EXCEEDED']));
      break;
    }
    expect(await rig.ask('py', 'facts')).toMatchObject({ depth: 1 });
  }, 60_000);

  it('a called module that is stopped by a signal: the caller has its deadline, and the next call its answer', async () => {
    const pid = rig.pid('ts');
    process.kill(pid, 'SIGSTOP');
    try {
      expect(await reason(call('ts', 'facts', 400))).toBe('DEADLINE_EXCEEDED');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await rig.ask('ts', 'facts')).toMatchObject({ caller: 'driver' });
  });

  it('tells how long a call takes', async () => {
    const took: number[] = [];
    for (let count = 0; count < CALLS; count += 1) {
      const began = performance.now();
      await rig.driver.call('ts', 'facts');
      took.push(performance.now() - began);
    }
    took.sort((a, b) => a - b);
    const at = (share: number): string => (took[Math.floor(took.length * share)] ?? 0).toFixed(2);
    process.stdout.write(`a call through the host: median ${at(0.5)} ms, p99 ${at(0.99)} ms\n`);
  }, 60_000);

  it('C135: the caller dies in a call, and the called hears it', async () => {
    const given = reason(rig.driver.call('ts', 'relay', bytes(JSON.stringify(chain(['py'], 'hang', {}, 'orphan')))));
    await rig.said('py', 'began "orphan"');
    const began = Date.now();
    process.kill(rig.pid('ts'), 'SIGKILL');
    const refused = await given;
    expect(refused).toBe('MODULE_UNAVAILABLE');
    const [, , heard] = await rig.said('py', 'cancelled "orphan"');
    process.stdout.write(`the death of a caller reached the called in ${Math.round(Number(heard) - began)} ms\n`);
    await until('the backoff', () => rig.told('ts').at(-1) === 'moduleStateChanged ts BACKOFF');
    await rig.host.load('ts');
    expect(await rig.ask('ts', 'facts')).toMatchObject({ caller: 'driver' });
  });

  it('C129, C135, C100: a called module that dies, waits, comes back and is unloaded', async () => {
    const given = rig.driver.call('py', 'hang', bytes('doomed')).catch((error: unknown) => error);
    await rig.said('py', 'began doomed');
    process.kill(rig.pid('py'), 'SIGKILL');
    expect(await given).toMatchObject({ reason: 'MODULE_UNAVAILABLE', retryAfterMs: 100 });
    await until('the backoff', () => rig.told('py').at(-1) === 'moduleStateChanged py BACKOFF');
    const down = await call('py', 'facts').catch((error: unknown) => error as { reason: string; retryAfterMs: number });
    expect(down).toMatchObject({ reason: 'MODULE_UNAVAILABLE' });
    // the supervision starts it again after a minute here
    expect((down as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(10_000);
    expect(await rig.driver.clients.modules.isAvailable({ name: 'py' })).toEqual({
      available: false,
      state: ModuleState.BACKOFF,
    });
    await rig.host.load('py');
    expect(await rig.ask('py', 'facts')).toMatchObject({ caller: 'driver' });
    const late = reason(rig.driver.call('py', 'hang', bytes('last')));
    await rig.said('py', 'began last');
    await rig.host.unload('py');
    expect(await late).toBe('MODULE_UNAVAILABLE');
    expect(await reason(call('py', 'facts'))).toBe('MODULE_NOT_FOUND');
    expect((await rig.driver.clients.modules.getModule({ name: 'py' })).module).toMatchObject({
      apiVersion: 0,
      apiMethods: [],
    });
  });

  it('a permission that is taken back ends the calls that it allowed', async () => {
    const given = reasonOf(
      unary((cb) =>
        rig.raw.call({ target: 'ts', method: 'hang', params: bytes('kept'), minApiVersion: 0, forInvocation: 0n }, cb),
      ),
    );
    await rig.said('ts', 'began kept');
    rig.host.withdraw('driver', 'CALL_MODULE');
    expect(await given).toBe('PERMISSION_WITHDRAWN');
    await rig.said('ts', 'cancelled kept');
    expect(await reason(call('ts', 'facts'))).toBe('MISSING_PERMISSION');
  });
});
