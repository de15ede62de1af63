import { afterEach, describe, expect, it } from 'vitest';
import { GetNodeUrlResponse } from '../../gen/ts/modhost/v1/lightning.js';
import { PaymentStatus } from '../../gen/ts/modhost/v1/payment.js';
import type { NodeApi } from '../../src/node/node-api.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { type CallHost, createCallHost, pythonPeer, stubsToolchain } from './calls/call-host.js';
import { reason, until } from './spawned-host.js';

const { skip } = await sandboxToolchain();
const { skip: skipStubs } = stubsToolchain();

const PROVIDERS = { lightning: 'py', payment: 'py', governance: 'py' } as const;
const KEY = '02'.repeat(33);

describe.skipIf(skip || skipStubs)('a module that answers a service for all others', () => {
  let rig: CallHost;
  afterEach(() => rig?.dispose());
  /** A node that has Lightning of its own, as an embedder's may. */
  const withLightning = (node: NodeApi): NodeApi =>
    Object.assign(Object.create(node) as NodeApi, {
      lightning: {
        getNodeUrl: async () => `${KEY}@127.0.0.1:9735`,
        getInfo: async () => ({
          nodeUrl: '',
          nodePubkey: new Uint8Array(33).fill(3),
          channelCount: 99,
          totalCapacitySats: 1n,
        }),
      },
    });

  it('answers all three with the messages of its own stubs, and hears who asks', async () => {
    rig = await createCallHost({
      python: { py: pythonPeer() },
      more: { providers: PROVIDERS },
      wrapNode: withLightning,
    });
    const { lightning, payment, governance } = rig.driver;
    await rig.host.load('py');
    expect(rig.host.list().find(({ name }) => name === 'py')?.provides).toEqual(Object.keys(PROVIDERS));
    // the operator’s word stands over the node that could answer itself
    expect(await lightning.getInfo()).toEqual({
      nodeUrl: '',
      nodePubkey: Buffer.alloc(33, 2),
      channelCount: 3,
      totalCapacitySats: 21n,
    });
    expect(await rig.said('py', 'provides lightning_get_info')).toEqual([
      'provides',
      'lightning_get_info',
      'for',
      'driver',
    ]);
    // and the provider, which asks the same service, is answered by that node and not by itself
    expect(await lightning.getNodeUrl()).toEqual(
      GetNodeUrlResponse.create({ known: true, nodeUrl: `${KEY}@127.0.0.1:9735` }),
    );

    const state = (paymentId: string) => payment.getPaymentState({ paymentId });
    expect(await state('one')).toMatchObject({ paymentId: 'one', status: PaymentStatus.CONFIRMED, confirmations: 2 });
    expect(await reason(state(''))).toBe('FIELD_REQUIRED');
    expect(await reason(state('missing'))).toBe('NOT_FOUND');
    expect(await reason(state('bad'))).toBe('INVALID_REQUEST');
    // a reason that is not a provider’s to give
    expect(await reason(state('odd'))).toBe('NODE_ERROR');
    await expect(state('busy')).rejects.toMatchObject({ reason: 'MODULE_UNAVAILABLE', retryAfterMs: 777 });
    // it has asked the payment service itself, got NODE_LACKS_FEATURE and says so by failing
    expect(await reason(state('self'))).toBe('NODE_ERROR');

    const { proposals, nextPageToken } = await governance.listProposals();
    expect(proposals.map(({ proposalId }) => proposalId)).toEqual(['a', 'b']);
    expect(Buffer.from(nextPageToken).toString()).toBe('b');
    expect(await rig.said('py', 'page_size')).toEqual(['page_size', '100']);
    expect((await governance.listProposals({ pageSize: 1 })).proposals).toHaveLength(1);
    expect(await reason(governance.listProposals({ pageSize: 1_001 }))).toBe('OUT_OF_RANGE');
    expect((await governance.getProposal({ proposalId: 'x' })).proposal).toMatchObject({ proposalId: 'x' });
    expect(await reason(governance.castVote({ proposalId: 'x', vote: 1 }))).toBe('OK');
    expect(await reason(governance.castVote({ proposalId: 'over', vote: 1 }))).toBe('PRECONDITION_FAILED');
    expect(await reason(governance.castVote({ proposalId: 'x', vote: 9 as never }))).toBe('UNKNOWN_ENUM');

    // what breaks the contract is the provider’s fault, and nobody sees it
    const before = rig.violations('py');
    for (const rubbish of ['other', 'status', 'txid', 'rubbish', 'empty']) {
      expect([rubbish, await reason(state(rubbish))]).toEqual([rubbish, 'INTERNAL']);
    }
    for (const token of ['disorder', 'b']) {
      expect(await reason(governance.listProposals({ pageToken: Buffer.from(token) }))).toBe('INTERNAL');
    }
    expect(rig.violations('py')).toBe(before + 7n);

    // it needs no call_module, and the permission of the service is what counts
    rig.host.withdraw('driver', 'CALL_MODULE');
    expect(await reason(lightning.getInfo())).toBe('OK');
    rig.host.withdraw('driver', 'READ_LIGHTNING');
    expect(await reason(lightning.getInfo())).toBe('MISSING_PERMISSION');

    process.kill(rig.pid('py'), 'SIGKILL');
    await until('the backoff', () => rig.told('py').at(-1) === 'moduleStateChanged py BACKOFF');
    const down = await state('one').catch((error: unknown) => error);
    expect(down).toMatchObject({ reason: 'MODULE_UNAVAILABLE', retryAfterMs: expect.any(Number) });
    await rig.host.unload('py');
    expect(await reason(state('one'))).toBe('NODE_LACKS_FEATURE');
  }, 60_000);

  it('that lacks the method, takes only others’ calls, or is nowhere', async () => {
    const few = pythonPeer({
      env: { OFFERED: 'lightning_get_info' },
      manifest: 'capabilities = ["register_module_api"]\n[api]\nallowed_callers = ["somebody"]\n',
    });
    rig = await createCallHost({ python: { few }, more: { providers: { lightning: 'few', payment: 'nobody' } } });
    const { lightning, payment, governance } = rig.driver;
    expect(await reason(lightning.getInfo())).toBe('NODE_LACKS_FEATURE');
    await rig.host.load('few');
    // whom it serves is the operator’s choice, made by naming it
    expect(await reason(lightning.getInfo())).toBe('OK');
    expect(await reason(rig.driver.call('few', 'lightning_get_info'))).toBe('CALLER_NOT_ALLOWED');
    expect(await reason(lightning.getNodeUrl())).toBe('NODE_LACKS_FEATURE');
    expect(await reason(payment.getPaymentState({ paymentId: 'one' }))).toBe('NODE_LACKS_FEATURE');
    expect(await reason(governance.listProposals())).toBe('NODE_LACKS_FEATURE');
    const { host } = await rig.host.control.status(AbortSignal.timeout(5_000));
    expect(host?.warnings).toContainEqual(expect.objectContaining({ code: 'unknown_provider', module: 'nobody' }));
  }, 60_000);
});
