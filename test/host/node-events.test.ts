import { describe, expect, it } from 'vitest';
import { ResourceType } from '../../gen/ts/modhost/event/v1/resource.js';
import { SyncPhase } from '../../gen/ts/modhost/event/v1/sync.js';
import { HostError } from '../../src/contract/error.js';
import type { EventPayload } from '../../src/contract/event-type.js';
import { blockHash, serializeHeader } from '../../src/core/bitcoin/header.js';
import { createBlockFacts } from '../../src/events/block-facts.js';
import type { EventHub } from '../../src/events/hub.js';
import { createChainReader } from '../../src/host/chain-reader.js';
import { createLifecycleEvents } from '../../src/host/lifecycle-events.js';
import { createMaintenanceEvents } from '../../src/host/maintenance-events.js';
import { createNodeEventPublisher } from '../../src/host/node-events.js';
import { PUBLISHED_BY_HOST } from '../../src/host/published-events.js';
import type { NetworkName, NodeApi, NodeEvent, Peer, SyncState } from '../../src/node/node-api.js';
import { catalogue, createHandClock, createMemoryLogger, createTestHub, hashOf } from '../events/harness.js';

const EASY = 0x1d00ffff;
const HARD = 0x1c00ffff;
const signal = new AbortController().signal;

const sync = (phase: SyncState['phase'], blocks = 5, headers = 9): SyncState => ({
  phase,
  progress: 0.25,
  blocks,
  headers,
  initialBlockDownload: phase !== 'synced',
});

/** A publisher whose payloads are remembered, over a node that answers what it is told to. */
function createPublisher(network: NetworkName = 'main') {
  const published: EventPayload[] = [];
  const { hub } = createTestHub();
  const recording: EventHub = Object.create(hub);
  recording.publish = (payload, options) => {
    published.push(payload);
    return hub.publish(payload, options);
  };
  const clock = createHandClock();
  const log = createMemoryLogger();
  const facts = createBlockFacts();
  const node = {
    getInfo: async () => ({ network, pruned: false, pruneHeight: 0 }),
    chain: { getSync: async () => sync('synced') },
  } as unknown as NodeApi;
  const publisher = createNodeEventPublisher({ hub: recording, node, clock, facts, log });
  const names = (): string[] => published.map((payload) => catalogue.byCase(payload.$case).name);
  return { ...publisher, hub: recording, published, names, clock, log, facts };
}

function block(height: number, previousHash: Uint8Array, bits = EASY): Extract<NodeEvent, { type: 'BlockConnected' }> {
  const header = serializeHeader({
    version: 1,
    previousHash,
    merkleRoot: new Uint8Array(32),
    timeUnixS: height,
    bits,
    nonce: height,
  });
  return { type: 'BlockConnected', hash: blockHash(header), height, header, txCount: 2, sizeBytes: 400, weight: 1_300 };
}

const peer: Peer = {
  id: 1,
  address: '203.0.113.5:8333',
  inbound: false,
  transport: 'ipv4',
  services: 9n,
  protocolVersion: 70_016,
  userAgent: '',
  connectedSinceUnixS: 0,
  bytesSent: 0n,
  bytesReceived: 0n,
  pingUs: 0,
};

const position = (height: number) => ({ hash: hashOf(height), height });

/** One of everything that a node can tell. */
function everything(): NodeEvent[] {
  const first = block(2_015, new Uint8Array(32));
  const second = block(2_016, first.hash, HARD);
  return [
    { type: 'NodeConnection', up: true, detail: '' },
    first,
    second,
    { type: 'BlockDisconnected', hash: second.hash, height: 2_016, header: second.header },
    { type: 'ChainReorg', oldTip: position(5), newTip: position(6), fork: position(3) },
    { type: 'TransactionAdded', txid: hashOf(1), feeSats: 333n, vsize: 222, mempoolCount: 4 },
    { type: 'TransactionRemoved', txid: hashOf(1), reason: 'unknown', mempoolCount: 3 },
    { type: 'MempoolCleared', count: 3 },
    { type: 'FeeRateChanged', oldSatPerKvb: 1n, newSatPerKvb: 2n, mempoolCount: 3 },
    {
      type: 'NewTip',
      previousHash: first.hash,
      bits: EASY,
      height: 2_016,
      minTimeUnixS: 0,
      coinbaseValueSats: 0n,
    },
    { type: 'TemplateUpdated', template: { previousHash: hashOf(1), height: 7, transactions: [] } as never },
    { type: 'SyncChanged', old: 'synced', now: sync('headers') },
    { type: 'SyncProgress', now: sync('headers'), blocksPerSecond: 0 },
    { type: 'SyncChanged', old: 'headers', now: sync('blocks') },
    { type: 'SyncProgress', now: sync('blocks'), blocksPerSecond: 3 },
    { type: 'SyncChanged', old: 'blocks', now: sync('synced') },
    { type: 'PeerConnected', peer },
    { type: 'PeerDisconnected', peer },
    { type: 'PeerBanned', address: '203.0.113.5', durationMs: 1_000 },
    { type: 'PeerUnbanned', address: '203.0.113.5' },
    { type: 'SoftFork', name: 'taproot', state: 'locked-in', height: 10 },
    { type: 'SoftFork', name: 'taproot', state: 'active', height: 20 },
  ];
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('what the host publishes', () => {
  it('is what its table says, both ways, and each payload passes through the hub', async () => {
    const { hub, listener, blockMined, names, log } = createPublisher();
    for (const event of everything()) {
      listener(event);
      await turn();
    }
    blockMined(position(1), 'miner');
    const host = createLifecycleEvents(hub);
    const spawn = { moduleId: 'a', instanceId: 'a-1', version: '1.0.0' };
    host.moduleDiscovered('a', '1.0.0', 'FILESYSTEM');
    host.moduleStateChanged('a', '', 'DISCOVERED', 'STARTING');
    host.moduleStarted(spawn);
    host.moduleLoaded(spawn);
    host.moduleCrashed(spawn, { error: 'ended by itself', signal: 'SIGSEGV' });
    host.moduleUnloaded(spawn);
    host.moduleStopped(spawn);
    host.moduleReloaded('a', '1.0.0', undefined);
    host.moduleHealthChanged(spawn, 'HEALTHY', 'DEGRADED');
    host.resourceLimitWarning({
      resourceType: ResourceType.MEMORY,
      usagePercent: 81,
      currentUsage: 81n,
      limit: 100n,
      thresholdPercent: 80,
      moduleName: 'a',
    });
    host.configLoaded(['limits']);
    host.nodeStartupCompleted(12.4, ['node']);
    host.nodeShutdown('SIGNAL', 10_000);
    host.nodeShutdownCompleted(7);
    const upkeep = createMaintenanceEvents(hub);
    upkeep.dataMaintenance('LOW_DISK', 0);
    upkeep.maintenanceStarted('CLEANUP');
    upkeep.maintenanceCompleted('CLEANUP', true, 12.4, 'nothing left');
    upkeep.healthCheck('PERIODIC', { nodeHealthy: true, healthReport: 'at height 1' });
    upkeep.diskSpaceLow({ holds: 'data', availableBytes: 1, totalBytes: 100 });
    expect([...new Set(names())].sort()).toEqual(Object.keys(PUBLISHED_BY_HOST).sort());
    expect(log.lines).toEqual([]);
    for (const name of Object.keys(PUBLISHED_BY_HOST)) {
      expect(
        catalogue.all.some((facts) => facts.name === name && facts.stability === 'STABLE'),
        name,
      ).toBe(true);
    }
  });

  it('tells nothing when a state stays what it was', () => {
    const { hub, names } = createPublisher();
    const host = createLifecycleEvents(hub);
    host.moduleStateChanged('a', '', 'RUNNING', 'RUNNING');
    expect(names()).toEqual([]);
  });
});

describe('events from the node', () => {
  it('carry what the node told, and no more', () => {
    const { listener, published } = createPublisher();
    listener({ type: 'TransactionAdded', txid: hashOf(1), feeSats: 333n, vsize: 222, mempoolCount: 4 });
    listener({ type: 'TransactionAdded', txid: hashOf(2), mempoolCount: 5 });
    listener({ type: 'PeerConnected', peer: { ...peer, transport: '' } });
    listener({ type: 'ChainReorg', oldTip: position(5), newTip: position(6), fork: position(3) });
    expect(published.map((payload) => payload.value)).toMatchObject([
      { txid: hashOf(1) },
      { feeRateSatPerKvb: 1_500n, mempoolTxCount: 4 },
      {},
      { feeRateSatPerKvb: undefined, mempoolTxCount: 5 },
      { transportType: 1, services: 9n },
      { disconnected: 2, connected: 3, forkHeight: 3 },
    ]);
  });

  it('tell a change of difficulty when the node announces it, and once', () => {
    const { listener, published, names } = createPublisher();
    const first = block(10, new Uint8Array(32));
    const second = block(11, first.hash, HARD);
    listener(first);
    const tip = { previousHash: first.hash, bits: HARD, height: 11, minTimeUnixS: 0, coinbaseValueSats: 0n };
    listener({ type: 'NewTip', ...tip });
    listener(second);
    expect(names()).toEqual(['NEW_BLOCK', 'MINING_DIFFICULTY_CHANGED', 'NEW_BLOCK']);
    expect(published[1]?.value).toEqual({ oldDifficulty: 1, newDifficulty: 256, height: 11 });
  });

  it('tell it with the first block of another target where the node announces nothing', () => {
    const { listener, names } = createPublisher();
    const first = block(10, new Uint8Array(32));
    const second = block(11, first.hash, HARD);
    listener(first);
    listener(second);
    listener({ ...second, type: 'BlockDisconnected' });
    // back at the first block: the same change is news again
    listener(second);
    const changes = names().filter((name) => name === 'MINING_DIFFICULTY_CHANGED');
    expect(changes).toHaveLength(2);
  });

  it('tell a retarget, but not where late blocks have the minimum difficulty', async () => {
    for (const [network, count] of [
      ['main', 1],
      ['test', 0],
    ] as const) {
      const { listener, names } = createPublisher(network);
      const first = block(4_031, new Uint8Array(32));
      listener(first);
      listener(block(4_032, first.hash, HARD));
      await turn();
      expect(names().filter((name) => name === 'DIFFICULTY_ADJUSTED')).toHaveLength(count);
    }
  });

  it('tell the phases of synchronisation with their durations, and a lost node as unknown', async () => {
    const { listener, published, clock, names } = createPublisher();
    listener({ type: 'SyncChanged', old: 'stalled', now: sync('blocks', 100, 900) });
    clock.advance(2_500);
    listener({ type: 'NodeConnection', up: false, detail: '' });
    listener({ type: 'NodeConnection', up: true, detail: '' });
    await turn();
    expect(names()).toEqual([
      'SYNC_STATE_CHANGED',
      'BLOCK_SYNC_STARTED',
      'SYNC_STATE_CHANGED',
      'SYNC_STATE_CHANGED',
      'BLOCK_SYNC_COMPLETED',
    ]);
    expect(published.map((payload) => payload.value)).toMatchObject([
      { oldState: SyncPhase.UNKNOWN, newState: SyncPhase.BLOCKS },
      { startHeight: 100, targetHeight: 900 },
      { oldState: SyncPhase.BLOCKS, newState: SyncPhase.UNKNOWN },
      { oldState: SyncPhase.UNKNOWN, newState: SyncPhase.SYNCED },
      { durationMs: 2_500n },
    ]);
  });

  it('never throw into the adapter, whatever the node tells', () => {
    const { listener, log } = createPublisher();
    listener({ ...block(1, new Uint8Array(32)), header: new Uint8Array(3) });
    expect(log.lines.map((line) => line.level)).toEqual(['error']);
  });
});

describe('the chain reader for walks', () => {
  it('takes what the host has heard, asks the node for the rest, and turns reasons into absence', async () => {
    const clock = createHandClock();
    const facts = createBlockFacts();
    const heard = block(1, new Uint8Array(32));
    const unheard = block(2, heard.hash);
    facts.remember(heard);
    let infos = 0;
    let syncs = 0;
    const no = (reason: HostError['reason']) => async () => {
      throw new HostError(reason, '');
    };
    const header = ({ hash, height, header }: typeof heard) => ({ hash, height, header, confirmations: 1, txCount: 7 });
    const node = {
      getInfo: async () => {
        infos += 1;
        return { pruned: true, pruneHeight: 1 + infos };
      },
      chain: {
        getHash: no('NO_CHAIN_HEIGHT'),
        getHeader: no('BLOCK_NOT_FOUND'),
        getHeaders: async () => [header(heard), header(unheard)],
        getSync: async () => {
          syncs += 1;
          return sync('synced');
        },
      },
    } as unknown as NodeApi;
    const reader = createChainReader(node, facts, clock);
    expect(await reader.hashAt(9, signal)).toBeUndefined();
    expect(await reader.block(unheard.hash, signal)).toBeUndefined();
    expect(await reader.block(heard.hash, signal)).toMatchObject({ sizeBytes: 400, weight: 1_300, txCount: 2 });
    expect(await reader.blocks(1, 16, signal)).toMatchObject([
      { height: 1, sizeBytes: 400 },
      { height: 2, sizeBytes: 0, weight: 0, txCount: 7 },
    ]);
    expect(await reader.pruneHeight(signal)).toBe(2);
    expect(await reader.pruneHeight(signal)).toBe(2);
    await reader.sync(signal);
    expect(await reader.sync(signal)).toMatchObject({ initialBlockDownload: false });
    expect(syncs).toBe(1);
    clock.advance(10_000);
    expect(await reader.pruneHeight(signal)).toBe(3);
    const broken = createChainReader({ ...node, chain: { ...node.chain, getHash: no('NODE_BUSY') } }, facts, clock);
    await expect(broken.hashAt(1, signal)).rejects.toMatchObject({ reason: 'NODE_BUSY' });
  });
});
