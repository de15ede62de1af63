import { afterEach, expect, it } from 'vitest';
import { type CallRequest, CallResponse } from '../../gen/ts/modhost/v1/module.js';
import type { CallOptions } from '../../src/sdk/call.js';
import { apiHandler, createCallModule, InvocationError, type Module, ModuleFailure } from '../../src/sdk/index.js';
import type { WorkContext } from '../../src/sdk/invocations.js';
import { createSdkRig, type SdkRig } from './sdk-rig.js';

let rig: SdkRig | undefined;
afterEach(async () => {
  await rig?.dispose();
  rig = undefined;
});

const context = (more: Partial<WorkContext> = {}): WorkContext => ({
  ...{ id: 7n, signal: new AbortController().signal, traceParent: '', timeLeftMs: () => 5_000 },
  ...more,
});

/** Calls, with what was sent written down. */
const recorded = (outcome: CallResponse['outcome']) => {
  const sent: { request: Partial<CallRequest>; options: CallOptions }[] = [];
  const call = createCallModule({
    async call(request = {}, options = {}) {
      sent.push({ request, options });
      return CallResponse.create({ outcome });
    },
  });
  return { sent, call };
};

it('a call names the work that it is made for, has no more time than it, and ends with it', async () => {
  const { sent, call } = recorded({ $case: 'result', value: Uint8Array.of(1) });
  expect(await call('b', 'm')).toEqual(Uint8Array.of(1));
  expect(sent[0]).toMatchObject({
    request: { target: 'b', method: 'm', minApiVersion: 0, forInvocation: 0n },
    options: { timeoutMs: 10_000 },
  });
  const end = new AbortController();
  await call('b', 'm', Uint8Array.of(2), { invocation: context({ signal: end.signal }), minApiVersion: 3 });
  expect(sent[1]).toMatchObject({ request: { minApiVersion: 3, forInvocation: 7n }, options: { timeoutMs: 5_000 } });
  expect(sent[1]?.options.signal?.aborted).toBe(false);
  end.abort();
  expect(sent[1]?.options.signal?.aborted).toBe(true);
});

it('a failure of the other module is its own kind of error', async () => {
  const { call } = recorded({ $case: 'failure', value: { code: 5, message: 'no', invalidParams: true } });
  const failure = await call('b', 'm').catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(ModuleFailure);
  expect(failure).toMatchObject({ target: 'b', code: 5, message: 'no', invalidParams: true });
});

it('methods are answered by their functions, and no other name is', async () => {
  const handler = apiHandler({ echo: (params, { caller }) => Buffer.concat([params, Buffer.from(caller)]) });
  const work = { params: Buffer.from('x'), caller: 'a', callerVersion: '1.0.0', callerGranted: [], depth: 1 };
  const { result } = await handler({ ...work, method: 'echo' }, context());
  expect(Buffer.from(result).toString()).toBe('xa');
  for (const method of ['other', 'constructor', '__proto__']) {
    await expect(handler({ ...work, method }, context())).rejects.toBeInstanceOf(InvocationError);
  }
});

it('what is offered is offered again to a host that has begun anew', async () => {
  const present = await createSdkRig({ permissions: ['REGISTER_MODULE_API', 'CALL_MODULE'] });
  rig = present;
  const module: Module = await present.connect();
  module.serve({ api: apiHandler({}) });
  await module.offer({ methods: ['m'], version: 2, allowedCallers: ['b'] });
  const offer = { methods: new Set(['m']), version: 2, callers: new Set(['b']) };
  expect(present.life.calls.offerOf('probe')).toEqual(offer);
  await expect(module.call('nobody', 'm')).rejects.toMatchObject({ reason: 'MODULE_NOT_FOUND' });
  await expect.poll(() => present.life.session.invocations.serving()).toBe(true);
  await present.crash();
  await present.revive();
  await expect.poll(() => present.life.calls.offerOf('probe'), { timeout: 10_000 }).toEqual(offer);
});
