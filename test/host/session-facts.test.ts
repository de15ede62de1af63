import { Client, type ServiceError } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { Stability } from '../../gen/ts/modhost/v1/options.js';
import {
  type GetContextResponse,
  type SessionContext,
  SessionServiceClient,
  type StartingResponse,
} from '../../gen/ts/modhost/v1/session.js';
import { PERMISSIONS, permissionNumber } from '../../src/contract/permission.js';
import { METHODS, reasonOf, unary } from '../ipc/rig.js';
import { cleanUp, client, external } from './host-rig.js';

afterEach(cleanUp);

/** What a call with an empty request comes to first: `OK` for an answer, else the reason. Any method can be read as a stream. */
function firstOf(raw: Client, path: string): Promise<string> {
  const bytes = (buffer: Buffer): Buffer => buffer;
  return new Promise((resolve) => {
    const call = raw.makeServerStreamRequest(path, bytes, bytes, Buffer.alloc(0), { deadline: Date.now() + 5_000 });
    const settle = (what: string): void => {
      resolve(what);
      call.cancel();
    };
    call.on('data', () => settle('OK'));
    call.on('end', () => settle('OK'));
    call.on('error', (error: ServiceError) => settle(String(error.metadata.get('modhost-reason')[0] ?? error.code)));
  });
}

async function contextOf(socketPath: string): Promise<SessionContext> {
  const session = client(SessionServiceClient, socketPath);
  const { context } = await unary<GetContextResponse>((cb) => session.getContext({}, cb));
  if (context === undefined) throw new Error('no context');
  return context;
}

describe('what a session is told of itself', () => {
  it('lists granted and withheld permissions in ascending order, and a withdrawn one no longer', async () => {
    const rig = await external(['vote_governance', 'read_utxo', 'submit_block', 'read_blockchain', 'read_mempool'], {
      modules: {
        probe: { run: 'external', unsigned: true, grants: ['SUBMIT_BLOCK', 'READ_UTXO', 'READ_BLOCKCHAIN'] },
      },
    });
    const socketPath = await rig.open('probe');
    const granted = ['READ_BLOCKCHAIN', 'READ_UTXO', 'SUBMIT_BLOCK'] as const;
    const withheld = ['READ_MEMPOOL', 'VOTE_GOVERNANCE'] as const;
    const ascending = (names: readonly (typeof PERMISSIONS)[number][]) =>
      names.map(permissionNumber).sort((a, b) => a - b);
    expect(await contextOf(socketPath)).toMatchObject({ granted: ascending(granted), withheld: ascending(withheld) });
    rig.host.withdraw('probe', 'READ_UTXO');
    expect(await contextOf(socketPath)).toMatchObject({
      granted: ascending(['READ_BLOCKCHAIN', 'SUBMIT_BLOCK']),
      withheld: ascending(withheld),
    });
  });

  it('names the services that answer, with each rpc that does not, and leaves out those that answer nothing', async () => {
    const rig = await external(
      PERMISSIONS.map((permission) => permission.toLowerCase()),
      { callsPerSecond: 1_000_000 },
    );
    const socketPath = await rig.open('probe');
    const { services } = await contextOf(socketPath);
    const listed = new Map(services.map((service) => [service.name, service]));
    expect(listed.size).toBe(services.length);
    const raw = client(Client, socketPath);
    const wrong: string[] = [];
    for (const { path, service, name, stability, beforeHandshake } of METHODS.values()) {
      if (beforeHandshake) continue;
      const entry = listed.get(service);
      const served = entry !== undefined && !entry.methodsNotServed.includes(name);
      const first = await firstOf(raw, path);
      if (served === (first === 'NOT_YET_SERVED')) wrong.push(`${path} is told ${served} and answers ${first}`);
      if (entry !== undefined && entry.alphaMethods.includes(name) !== (stability === 'ALPHA'))
        wrong.push(`${path} alpha`);
    }
    expect(wrong).toEqual([]);
    for (const { name, stability } of services) {
      const stable = [...METHODS.values()].some((facts) => facts.service === name && facts.stability === 'STABLE');
      expect(stability, name).toBe(stable ? Stability.STABLE : Stability.ALPHA);
    }
  }, 60_000);

  it('has as features of the node what does not answer NODE_LACKS_FEATURE', async () => {
    const rig = await external(
      PERMISSIONS.map((permission) => permission.toLowerCase()),
      { callsPerSecond: 1_000_000 },
    );
    const socketPath = await rig.open('probe');
    const { features } = await rig.devchain.getInfo(AbortSignal.timeout(5_000));
    const raw = client(Client, socketPath);
    // rpcs whose empty request gets past the checks of their fields
    const probes = {
      mempool: '/modhost.v1.MempoolService/GetSize',
      network: '/modhost.v1.NetworkService/GetStats',
      'serve-denylist': '/modhost.v1.NetworkService/ClearTxServeDenylist',
      'maintenance-mode': '/modhost.v1.NetworkService/SetBlockServeMaintenanceMode',
      'mining-template': '/modhost.v1.MiningService/GetBlockTemplate',
      lightning: '/modhost.v1.LightningService/GetInfo',
      governance: '/modhost.v1.GovernanceService/ListProposals',
    };
    for (const [feature, path] of Object.entries(probes)) {
      const has = (features as readonly string[]).includes(feature);
      expect(await firstOf(raw, path), feature).toBe(has ? 'OK' : 'NODE_LACKS_FEATURE');
    }
  });

  it('gets its start time again with Starting, cut progress and all, and refuses a share over 100', async () => {
    const rig = await external();
    const socketPath = await rig.open('probe');
    const session = client(SessionServiceClient, socketPath);
    const { limits } = await contextOf(socketPath);
    const message = 'ä'.repeat(2_000);
    const answer = await unary<StartingResponse>((cb) => session.starting({ progressPercent: 7, message }, cb));
    expect(answer.readyWithinMs).toBe(limits?.startTimeoutMs);
    const told = rig.host.list()[0];
    expect(told?.startProgressPercent).toBe(7);
    expect(Buffer.byteLength(told?.startMessage ?? '')).toBeLessThanOrEqual(1_024);
    const over = unary((cb) => session.starting({ progressPercent: 101, message: '' }, cb));
    expect(await reasonOf(over)).toBe('OUT_OF_RANGE');
  });
});
