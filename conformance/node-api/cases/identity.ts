import assert from 'node:assert/strict';
import type { NodeApi, NodeFeature } from '../../../src/node/node-api.js';
import { type Case, rejects, required } from '../stage.js';

/** Which group of the port each feature lives in. */
const GROUP_OF: Readonly<Partial<Record<NodeFeature, keyof NodeApi>>> = {
  utxo: 'utxo',
  mempool: 'mempool',
  'submit-transaction': 'mempool',
  'submit-package': 'mempool',
  'test-transaction': 'mempool',
  'fee-estimate': 'mempool',
  network: 'network',
  'ban-peer': 'network',
  'mining-template': 'mining',
  'submit-block': 'mining',
  'queue-block': 'mining',
  lightning: 'lightning',
  payment: 'payment',
  governance: 'governance',
};

/** What a node says of itself. */
export const identityCases: Case[] = [
  {
    id: 'identity/get-info/shape',
    run: async ({ node, signal }) => {
      const told = await node.getInfo(signal());
      assert.match(told.kind, /^[a-z][a-z0-9-]*$/);
      assert.equal(told.network, 'regtest');
      assert.equal(typeof told.simulated, 'boolean');
      assert.equal(told.initialBlockDownload, false);
      assert.ok(Number.isSafeInteger(told.pruneHeight) && told.pruneHeight >= 0);
      if (!told.pruned) assert.equal(told.pruneHeight, 0);
    },
  },
  {
    id: 'identity/get-info/features-are-those-promised',
    run: async ({ node, profile, signal }) => {
      const { features } = await node.getInfo(signal());
      assert.deepEqual([...features].sort(), [...profile.features].sort());
    },
  },
  {
    id: 'identity/get-info/features-have-their-group',
    run: async ({ node, profile }) => {
      for (const feature of profile.features) {
        const group = GROUP_OF[feature];
        if (group !== undefined) assert.notEqual(node[group], undefined, `${feature} needs the group ${group}`);
      }
    },
  },
  {
    id: 'identity/get-info/txindex-is-listed',
    run: async ({ node, profile, signal }) => {
      const { indexes } = await node.getInfo(signal());
      assert.equal(indexes.includes('txindex'), profile.txindex);
    },
  },
  {
    id: 'identity/get-info/stays-the-same',
    run: async ({ node, signal }) => {
      assert.deepEqual(await node.getInfo(signal()), await node.getInfo(signal()));
    },
  },
  {
    id: 'identity/max-calls-in-flight/positive-when-set',
    run: async ({ node }) => {
      const most = node.maxCallsInFlight;
      if (most !== undefined) assert.ok(Number.isSafeInteger(most) && most > 0);
    },
  },
  {
    id: 'identity/lacks/fee-estimate',
    lacks: ['fee-estimate'],
    run: async ({ node, signal }) => {
      if (node.mempool !== undefined) await rejects(node.mempool.estimateFee(6, signal()), 'NODE_LACKS_FEATURE');
    },
  },
  {
    id: 'identity/lacks/submit-package',
    needs: ['submit-transaction'],
    lacks: ['submit-package'],
    run: async ({ mempool, subject, signal }) => {
      const { raw } = await subject.spend();
      const bounds = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };
      await rejects(mempool().submitPackage([raw], bounds, signal()), 'NODE_LACKS_FEATURE');
    },
  },
  {
    id: 'identity/lacks/test-transaction',
    needs: ['submit-transaction'],
    lacks: ['test-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const { raw } = await subject.spend();
      const bounds = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };
      await rejects(mempool().test([raw], bounds, signal()), 'NODE_LACKS_FEATURE');
    },
  },
  {
    id: 'identity/lacks/ban-peer',
    needs: ['network'],
    lacks: ['ban-peer'],
    run: async ({ network, signal }) => {
      await rejects(network().banPeer('192.0.2.1', 60_000, signal()), 'NODE_LACKS_FEATURE');
    },
  },
  {
    id: 'identity/lacks/optional-network-calls',
    needs: ['network'],
    lacks: ['maintenance-mode', 'serve-denylist', 'send-mesh', 'send-stratum'],
    run: async ({ network, signal }) => {
      const api = network();
      const calls = [
        api.setBlockServeMaintenance?.(true, signal()),
        api.setServeDenylist?.('block', [], signal()),
        api.sendMeshPacket?.('peer', new Uint8Array(1), signal()),
        api.sendStratumMessage?.('peer', new Uint8Array(1), signal()),
      ];
      for (const call of calls) if (call !== undefined) await rejects(call, 'NODE_LACKS_FEATURE');
    },
  },
  {
    id: 'identity/lacks/mining-template',
    lacks: ['mining-template'],
    run: async ({ node, signal }) => {
      if (node.mining !== undefined) await rejects(node.mining.getTemplate(['segwit'], signal()), 'NODE_LACKS_FEATURE');
    },
  },
  {
    id: 'identity/lacks/queue-block',
    needs: ['submit-block'],
    lacks: ['queue-block'],
    run: async ({ mining, node, tip, signal }) => {
      const { raw } = await node.chain.getBlock((await tip()).hash, signal());
      const queued = mining().queueBlock?.(raw, signal());
      if (queued !== undefined) await rejects(queued, 'NODE_LACKS_FEATURE');
    },
  },
  {
    id: 'identity/queue-block/known-block-is-harmless',
    needs: ['queue-block'],
    run: async ({ mining, node, tip, signal }) => {
      const before = await tip();
      const { raw } = await node.chain.getBlock(before.hash, signal());
      const api = mining();
      await required(api.queueBlock, 'queueBlock is promised').call(api, raw, signal());
      assert.deepEqual(await tip(), before);
    },
  },
];
