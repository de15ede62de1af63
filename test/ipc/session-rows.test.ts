import type { ServiceError } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { LogServiceClient } from '../../gen/ts/modhost/v1/log.js';
import {
  MempoolServiceClient,
  MempoolServiceService,
  SubmitTransactionRequest,
} from '../../gen/ts/modhost/v1/mempool.js';
import { type HandshakeRequest, SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { HostError } from '../../src/contract/error.js';
import { compareVersions } from '../../src/core/version-range.js';
import { createNotYetServed } from '../../src/services/not-yet-served.js';
import { createRig, type Rig, type RigOptions, reasonOf, unary } from './rig.js';

let rig: Rig;
const start = async (options?: RigOptions): Promise<void> => {
  rig = await createRig(options);
};
afterEach(() => rig.dispose());

/** A handshake on a connection of its own. */
const shake = (over: Partial<HandshakeRequest> = {}): Promise<string> => {
  const client = rig.client(SessionServiceClient);
  const claims = { token: rig.token, moduleName: 'probe', moduleVersion: '1.2.3', protocolMin: 1, protocolMax: 1 };
  return reasonOf(unary((cb) => client.handshake({ ...claims, sdkName: '', sdkVersion: '', ...over }, cb)));
};

/** Reason and `modhost-retry-after-ms` of a refused call. */
const refusalOf = async (call: Promise<unknown>): Promise<{ reason: string; retryAfterMs: number }> => {
  const { metadata } = await call.then(
    () => Promise.reject(new Error('it was not refused')),
    (error: ServiceError) => error,
  );
  return {
    reason: String(metadata.get('modhost-reason')[0]),
    retryAfterMs: Number(metadata.get('modhost-retry-after-ms')[0]),
  };
};

describe('one spawn, several connections', () => {
  it('C083 C084: the spawn’s token joins the same session as often as it comes, the first connection untouched', async () => {
    await start();
    const first = rig.client(SessionServiceClient);
    await rig.open();
    await unary((cb) => first.ready({}, cb));
    expect(await shake()).toBe('OK');
    expect(rig.session.state()).toBe('ready');
    expect(await reasonOf(unary((cb) => first.getContext({}, cb)))).toBe('OK');
    rig.server.dropConnections();
    expect(await shake()).toBe('OK');
    // stock channels reconnect unseen: no handshake of their own
    const again = rig.client(SessionServiceClient);
    expect(await reasonOf(unary((cb) => again.getContext({}, cb)))).toBe('OK');
    expect(rig.session.state()).toBe('ready');
  });

  it('C083: a wrong token on a further connection is refused and changes nothing', async () => {
    await start();
    await rig.open();
    expect(await shake({ token: new Uint8Array(32).fill(8) })).toBe('BAD_TOKEN');
    expect(rig.session.state()).toBe('open');
    const client = rig.client(SessionServiceClient);
    expect(await reasonOf(unary((cb) => client.getContext({}, cb)))).toBe('OK');
  });

  it('C084: after the spawn has ended its token opens nothing', async () => {
    await start();
    await rig.open();
    rig.session.close(new HostError('SESSION_CLOSED', 'the module has ended'));
    expect(await shake()).toBe('SESSION_CLOSED');
    expect(rig.grants.list()).toEqual([]);
  });

  it('C015: versions that differ in build metadata alone have one precedence and are two versions', async () => {
    await start();
    expect(compareVersions('1.2.3+a', '1.2.3+b')).toBe(0);
    expect(await shake({ moduleVersion: '1.2.3+b' })).toBe('VERSION_MISMATCH');
    expect(await shake()).toBe('OK');
  });
});

describe('the budget of calls on the wire', () => {
  const services = [{ definition: MempoolServiceService, impl: createNotYetServed(MempoolServiceService) }];
  const permissions = ['READ_MEMPOOL', 'SEND_TRANSACTIONS'] as const;
  const submission = SubmitTransactionRequest.fromPartial({});

  it('charges each rpc its weight and tells when to come back', async () => {
    await start({ services, permissions, quota: { ratePerSecond: 1, burst: 25 } });
    await rig.open();
    const mempool = rig.client(MempoolServiceClient);
    const submit = (): Promise<unknown> => unary((cb) => mempool.submitTransaction(submission, cb));
    const size = (): Promise<unknown> => unary((cb) => mempool.getSize({ atTip: new Uint8Array(0) }, cb));
    // 1 for the handshake, 10 for each submission: 4 are left
    expect(await reasonOf(submit())).toBe('NOT_YET_SERVED');
    expect(await reasonOf(submit())).toBe('NOT_YET_SERVED');
    const refused = await refusalOf(submit());
    expect(refused.reason).toBe('RATE_LIMITED');
    expect(refused.retryAfterMs).toBeGreaterThan(1_000);
    expect(refused.retryAfterMs).toBeLessThanOrEqual(6_000);
    // a read of 2 still fits, and the refused submission has cost nothing
    expect(await reasonOf(size())).toBe('NOT_YET_SERVED');
    expect(await reasonOf(size())).toBe('NOT_YET_SERVED');
    expect(rig.decisions.filter(({ reason }) => reason === 'RATE_LIMITED')).toHaveLength(1);
  });

  it('charges nothing for a call that a missing permission refuses', async () => {
    await start({ services, quota: { ratePerSecond: 1e-3, burst: 2 } });
    await rig.open();
    const mempool = rig.client(MempoolServiceClient);
    for (let i = 0; i < 5; i++) {
      expect(await reasonOf(unary((cb) => mempool.submitTransaction(submission, cb)))).toBe('MISSING_PERMISSION');
    }
    const session = rig.client(SessionServiceClient);
    expect(await reasonOf(unary((cb) => session.getContext({}, cb)))).toBe('OK');
    expect(await reasonOf(unary((cb) => session.getContext({}, cb)))).toBe('RATE_LIMITED');
  });

  it('bounds the calls in flight over all connections, streams included, and gives their places back', async () => {
    await start({ quota: { maxInFlight: 2 } });
    await rig.open();
    const streams = [rig.client(LogServiceClient), rig.client(LogServiceClient)].map((log) => log.write(() => {}));
    for (const stream of streams) stream.write({ records: [] });
    await expect.poll(() => rig.session.quota.inFlight()).toBe(2);
    const session = rig.client(SessionServiceClient);
    const refused = await refusalOf(unary((cb) => session.getContext({}, cb)));
    expect(refused.reason).toBe('TOO_MANY_CALLS');
    expect(refused.retryAfterMs).toBeGreaterThan(0);
    streams[0]?.cancel();
    streams[1]?.end();
    await expect.poll(() => rig.session.quota.inFlight()).toBe(0);
    expect(await reasonOf(unary((cb) => session.getContext({}, cb)))).toBe('OK');
  });
});
