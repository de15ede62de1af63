/** What people, programs and other modules see of the module while it works. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { permissionNumber } from '../../../src/contract/permission.js';
import { parseManifest } from '../../../src/manifest/parse.js';
import type { NodeApi } from '../../../src/node/node-api.js';
import { connect, type Module } from '../../../src/sdk/connect.js';
import { VERSION, writeExternalModule } from '../../host/external-module.js';
import { sandboxToolchain } from '../../sandbox/spawn-module.js';
import { requireToolchain } from '../../toolchain.js';
import { btcdAvailable } from '../btcd.js';
import { stratumPresence, WORKSPACE } from './apps.js';
import { blocksFrom } from './mined-blocks.js';
import { startProbe } from './programs.js';
import { eventually, MODULE, type Rig, startRig, TAG } from './rig.js';

const tools = [
  requireToolchain('btcd', await btcdAvailable()),
  requireToolchain('the Stratum V2 programs', stratumPresence()),
  await sandboxToolchain(),
];

/** A module that adds outputs to the coinbase, as a merge-mining one would. */
const MERGE = 'merge-watch';
/** One that is not named in the pool's configuration. */
const STRANGER = 'stranger';
/** Commitment that the first puts into blocks: OP_RETURN with eight bytes. */
const COMMITMENT = '6a08c0ffee00c0ffee00';

describe.skipIf(tools.some(({ skip }) => skip))('the Stratum V2 module for people, programs and modules', () => {
  let rig: Rig;
  let merge: Module;
  let stranger: Module;
  const gate = createGate();

  beforeAll(async () => {
    rig = await startRig({
      config: { output_modules: [MERGE] },
      external: [MERGE, STRANGER],
      writeModules: (dir) => {
        const capabilities = ['discover_modules', 'call_module', 'subscribe_events', 'network_access'];
        for (const name of [MERGE, STRANGER]) writeExternalModule(dir, name, capabilities);
      },
      wrapNode: (node) => gate.before(node),
    });
    [merge, stranger] = [await openModule(MERGE), await openModule(STRANGER)];
  });
  afterAll(async () => {
    await merge?.close();
    await stranger?.close();
    await rig?.dispose();
  });

  async function openModule(name: string): Promise<Module> {
    const socket = join(rig.dir, 's', `x-${name}`, 'host.sock');
    const env = {
      MODHOST_SOCKET: socket,
      MODHOST_TOKEN_FILE: join(socket, '..', 'token'),
      MODHOST_MODULE_ID: name,
      MODHOST_INSTANCE_ID: 'test',
      MODHOST_DATA_DIR: rig.dir,
    };
    const module = await connect({ version: VERSION, env });
    module.serve({});
    await module.ready();
    return module;
  }

  const miner = (options: Readonly<Record<string, string | number>> = {}) => {
    const probe = startProbe('mine', {
      ...{ connect: `127.0.0.1:${rig.poolPort}`, authority: rig.authority, identity: 'alice', 'per-second': 4 },
      ...options,
    });
    onTestFinished(() => probe.stop());
    return probe;
  };
  const ask = async (method: string, body: unknown = {}, who: Module = merge): Promise<Record<string, unknown>> => {
    const params = Buffer.from(JSON.stringify(body));
    return JSON.parse(Buffer.from(await who.call(MODULE, method, params)).toString('utf8'));
  };

  it('tells other modules by events of clients, jobs, shares and blocks', async () => {
    const types = [
      'STRATUM_CLIENT_CONNECTED',
      'MINING_JOB_CREATED',
      'SHARE_SUBMITTED',
      'BLOCK_MINED',
      'STRATUM_CLIENT_DISCONNECTED',
    ] as const;
    const stop = new AbortController();
    const heard = new Set<string>();
    const hearing = (async () => {
      for await (const item of await merge.events({ types, signal: stop.signal })) {
        if (item.kind === 'event') heard.add(String(item.event.payload?.$case));
      }
    })().catch(() => undefined);
    await sleep(200);
    await miner({ shares: 3 }).ended;
    const all = ['stratumClientConnected', 'miningJobCreated', 'shareSubmitted', 'blockMined'];
    await eventually(
      'every event',
      async () => [...heard].sort(),
      (names) => names.length === types.length,
    );
    expect([...heard].sort()).toEqual([...all, 'stratumClientDisconnected'].sort());
    stop.abort();
    await hearing;
  });

  it('takes standard channels as well as extended ones', async () => {
    const probe = miner({ standard: 'yes', shares: 3, identity: 'bob' });
    expect((await probe.ended).code).toBe(0);
    expect(probe.of('open')[0]).toMatchObject({ extranonce: 0 });
  });

  it('answers commands and the front door alike', async () => {
    await miner({ shares: 2 }).ended;
    for (const name of ['status', 'miners', 'shares', 'blocks']) {
      const [byCommand, byDoor] = [await rig.command(name, '--json'), await rig.call(`stratumv2_${name}`)];
      expect(Object.keys(byDoor as object).sort(), name).toEqual(Object.keys(byCommand as object).sort());
      const plain = await rig.call<{ stdout: string; exit_code: number }>('runmodulecli', [MODULE, name]);
      expect(plain.exit_code).toBe(0);
      expect(plain.stdout.length).toBeGreaterThan(20);
    }
    await expect(rig.call('runmodulecli', [MODULE, 'shares', '--nonsense'])).rejects.toThrow('-32602');
    expect(await rig.call('help')).toContain('stratumv2_status');
    const { miners } = await rig.call<{ miners: { name: string }[] }>('stratumv2_miners');
    expect(miners.map(({ name }) => name)).toEqual(expect.arrayContaining(['alice', 'bob']));
  });

  it('counts in /metrics', async () => {
    const series = /^modhost_module_blocks\{.*state="accepted".*\} ([0-9]+)/m;
    await eventually(
      'blocks in /metrics',
      async () => Number(series.exec(await rig.metrics())?.[1] ?? 0),
      (count) => count > 0,
    );
    expect(await rig.metrics()).toContain('modhost_module_ledger_commit_seconds_count');
  });

  it('lets the modules that the operator names add outputs to the coinbase, and no other', async () => {
    expect(await ask('pool_statistics')).toMatchObject({ blocks: { rejected: 0 } });
    expect(await ask('current_template')).toMatchObject({ coinbase_outputs_count: expect.any(Number) });
    const outputs = { outputs: [{ script: COMMITMENT, value_sats: 0 }] };
    await expect(ask('set_additional_outputs', outputs, stranger)).rejects.toMatchObject({
      reason: 'CALLER_NOT_ALLOWED',
    });
    expect(await ask('set_additional_outputs', outputs)).toMatchObject({ changed: true, outputs: 1 });
    const height = await rig.btcd.rpc<number>('getblockcount');
    const probe = miner();
    const blocks = await eventually(
      'blocks',
      () => blocksFrom(rig.btcd, height + 1),
      (found) => found.length >= 3,
    );
    await probe.stop();
    // The first may have been begun before the outputs were set.
    for (const { outputs: paid, coinbaseText } of blocks.slice(1)) {
      expect(paid).toContainEqual({ script: COMMITMENT, valueSats: 0n });
      expect(coinbaseText).toContain(TAG);
    }
    expect(await ask('clear_additional_outputs')).toMatchObject({ changed: true });
    expect(await ask('miners')).toMatchObject({ total: expect.any(Number) });
  });

  it('asks in its manifest for what it uses, and for nothing else', async () => {
    // A verdict that got lost: the module dies while the node thinks, and asks for the block when it is back.
    const release = gate.close();
    const probe = miner({ reconnect: 'yes' });
    await gate.reached();
    const victim = rig.pid();
    process.kill(victim, 'SIGKILL');
    release();
    await rig.ready(victim);
    const blocks = (): Promise<{ blocks: { state: string }[] }> => rig.command('blocks', '--json');
    await eventually('a verdict on the block', blocks, (said) =>
      said.blocks.every(({ state }) => state === 'accepted' || state === 'inconclusive'),
    );
    await probe.stop();
    await startProbe('idle', { connect: `127.0.0.1:${rig.templatePort}`, count: 1, seconds: 1 }).ended;
    const declared = parseManifest(readFileSync(join(WORKSPACE, 'module.toml')));
    const seen = await eventually(
      'the use of every permission',
      async () => rig.host.control.observation(MODULE, false),
      ({ unused }) => unused.length === 0,
    );
    expect(seen.refused).toEqual([]);
    const used = seen.used.map(({ permission }) => Number(permission)).sort();
    expect(used).toEqual(declared.capabilities.map((name) => Number(permissionNumber(name))).sort());
    expect([...seen.inbound].sort()).toEqual([rig.poolPort, rig.templatePort].sort());
    expect(seen.outbound).toEqual([]);
    expect([...seen.apiMethods].sort()).toEqual([...declared.api.methods].sort());
    const observed = parseManifest(Buffer.from(seen.manifestToml));
    expect([...observed.events.publish].sort()).toEqual([...declared.events.publish].sort());
    expect([...observed.capabilities].sort()).toEqual([...declared.capabilities].sort());
  });
});

/** Holds blocks back on their way to the node while it is closed. */
function createGate() {
  let [opened, reached] = [Promise.resolve(), () => {}];
  let arrival = Promise.resolve();
  return {
    /** Closes it; the returned function opens it. */
    close(): () => void {
      let open: () => void = () => {};
      opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      arrival = new Promise<void>((resolve) => {
        reached = resolve;
      });
      return open;
    },
    /** Resolves when a block waits. */
    reached: () => arrival,
    before(node: NodeApi): NodeApi {
      const { mining } = node;
      if (mining === undefined) return node;
      const submitBlock: typeof mining.submitBlock = async (raw, signal) => {
        reached();
        await opened;
        return mining.submitBlock(raw, signal);
      };
      return new Proxy(node, {
        get: (of, key) => (key === 'mining' ? { ...mining, submitBlock } : Reflect.get(of, key)),
      });
    },
  };
}
