import { describe, expect, it } from 'vitest';
import {
  GetBlockServeDenylistRequest,
  type GetBlockServeDenylistResponse,
  GetPeersRequest,
  type GetPeersResponse,
} from '../../gen/ts/modhost/v1/network.js';
import { HostError } from '../../src/contract/error.js';
import { toHex } from '../../src/core/bytes.js';
import type { NetworkApi, Peer } from '../../src/node/node-api.js';
import { createNetworkService } from '../../src/services/network.js';
import { createServeDenylists, MAX_OWNED_HASHES } from '../../src/services/network-denylist.js';
import { callContext, createNodeDouble, reasonOf } from './node-double.js';

const context = callContext();
const { signal } = context;

function hash(mark: number): Uint8Array {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, mark);
  return bytes;
}

function peer(id: number): Peer {
  return {
    id,
    address: `127.0.0.1:${id}`,
    inbound: false,
    transport: 'ipv4',
    services: 1n,
    protocolVersion: 70016,
    userAgent: '/double/',
    connectedSinceUnixS: 1,
    bytesSent: 0n,
    bytesReceived: 0n,
    pingUs: 0,
  };
}

function rig(change: Partial<NetworkApi> = {}, peers = 0) {
  const told: { block: string[]; transaction: string[]; maintenance: boolean[]; bans: unknown[] } = {
    block: [],
    transaction: [],
    maintenance: [],
    bans: [],
  };
  const network: NetworkApi = {
    getStats: async () => ({
      peerCount: 0,
      inboundCount: 0,
      outboundCount: 0,
      bytesSent: 0n,
      bytesReceived: 0n,
      hashRate: 0,
      networkActive: true,
    }),
    getPeers: async () => Array.from({ length: peers }, (_, index) => peer(peers - index)),
    banPeer: async (...ban) => {
      told.bans.push(ban.slice(0, 2));
    },
    setServeDenylist: async (kind, hashes) => {
      told[kind] = hashes.map(toHex);
    },
    setBlockServeMaintenance: async (enabled) => {
      told.maintenance.push(enabled);
    },
    sendMeshPacket: async () => {},
    sendStratumMessage: async () => {},
    ...change,
  };
  const { node } = createNodeDouble({ network });
  const denylists = createServeDenylists(node);
  const of = (moduleId: string) => createNetworkService({ node, denylists, moduleId });
  return { node, denylists, told, a: of('a'), b: of('b') };
}

type Service = ReturnType<typeof rig>['a'];
type Handler = (request: unknown, context: unknown) => unknown;

const LIST = GetBlockServeDenylistRequest.fromPartial({});

describe('requests are judged before the node is asked', () => {
  const good = new Uint8Array(1);
  const rows: [keyof Service, string, unknown, string][] = [
    ['getPeers', 'page of 1,001', GetPeersRequest.fromPartial({ pageSize: 1_001 }), 'OUT_OF_RANGE'],
    ['getPeers', 'token of 3 bytes', GetPeersRequest.fromPartial({ pageToken: new Uint8Array(3) }), 'INVALID_REQUEST'],
    ['getBlockServeDenylist', 'page of 4,097', { ...LIST, pageSize: 4_097 }, 'OUT_OF_RANGE'],
    ['getBlockServeDenylist', 'token of 1 byte', { ...LIST, pageToken: good }, 'INVALID_REQUEST'],
    ['getTxServeDenylist', 'page of 4,097', { ...LIST, pageSize: 4_097 }, 'OUT_OF_RANGE'],
    ['banPeer', 'no address', { address: '', durationMs: 0n }, 'FIELD_REQUIRED'],
    ['banPeer', 'a space', { address: '1.2.3.4 :8333', durationMs: 0n }, 'INVALID_REQUEST'],
    ['banPeer', 'a subnet', { address: '10.0.0.0/8', durationMs: 0n }, 'INVALID_REQUEST'],
    ['banPeer', 'a line end', { address: '1.2.3.4\n', durationMs: 0n }, 'INVALID_REQUEST'],
    ['banPeer', 'port 0', { address: '1.2.3.4:0', durationMs: 0n }, 'INVALID_REQUEST'],
    ['banPeer', 'port 65,536', { address: '1.2.3.4:65536', durationMs: 0n }, 'INVALID_REQUEST'],
    ['banPeer', '257 bytes', { address: 'a'.repeat(257), durationMs: 0n }, 'INVALID_REQUEST'],
    ['banPeer', 'eleven years', { address: '1.2.3.4', durationMs: 346_896_000_000n }, 'OUT_OF_RANGE'],
    ['mergeBlockServeDenylist', 'none', { hashes: [] }, 'FIELD_REQUIRED'],
    ['mergeBlockServeDenylist', '4,097', { hashes: Array(4_097).fill(hash(1)) }, 'OUT_OF_RANGE'],
    ['mergeBlockServeDenylist', 'a short hash', { hashes: [hash(1), good] }, 'INVALID_REQUEST'],
    ['mergeTxServeDenylist', 'none', { hashes: [] }, 'FIELD_REQUIRED'],
    ['mergeTxServeDenylist', 'an empty hash', { hashes: [new Uint8Array(0)] }, 'FIELD_REQUIRED'],
    ['replaceBlockServeDenylist', '4,097', { hashes: Array(4_097).fill(hash(1)) }, 'OUT_OF_RANGE'],
    ['replaceTxServeDenylist', 'a short hash', { hashes: [good] }, 'INVALID_REQUEST'],
    ['sendMeshPacket', 'no peer', { peer: '', packet: good }, 'FIELD_REQUIRED'],
    ['sendMeshPacket', 'no port', { peer: '1.2.3.4', packet: good }, 'INVALID_REQUEST'],
    ['sendMeshPacket', 'an unknown transport', { peer: 'udp:1.2.3.4:1', packet: good }, 'INVALID_REQUEST'],
    ['sendMeshPacket', 'an iroh key of 63 digits', { peer: `iroh:${'a'.repeat(63)}`, packet: good }, 'INVALID_REQUEST'],
    ['sendMeshPacket', 'no packet', { peer: '1.2.3.4:1', packet: new Uint8Array(0) }, 'FIELD_REQUIRED'],
    ['sendMeshPacket', 'over 1 MiB', { peer: '1.2.3.4:1', packet: new Uint8Array(1024 * 1024 + 1) }, 'OUT_OF_RANGE'],
    ['sendStratumV2Message', 'no message', { peer: '1.2.3.4:1', message: new Uint8Array(0) }, 'FIELD_REQUIRED'],
  ];

  it.each(rows)('%s, %s', async (rpc, _name, request, reason) => {
    const { a, told } = rig();
    expect(await reasonOf(() => (a[rpc] as Handler)(request, context))).toBe(reason);
    expect(told).toEqual({ block: [], transaction: [], maintenance: [], bans: [] });
  });
});

describe('what a node lacks', () => {
  const requests: [keyof Service, unknown][] = [
    ['getStats', {}],
    ['getPeers', GetPeersRequest.fromPartial({})],
    ['getBlockServeDenylist', LIST],
    ['getTxServeDenylist', LIST],
    ['banPeer', { address: '1.2.3.4', durationMs: 0n }],
    ['setBlockServeMaintenanceMode', { enabled: true }],
    ['mergeBlockServeDenylist', { hashes: [hash(1)] }],
    ['replaceBlockServeDenylist', { hashes: [] }],
    ['clearBlockServeDenylist', {}],
    ['mergeTxServeDenylist', { hashes: [hash(1)] }],
    ['replaceTxServeDenylist', { hashes: [] }],
    ['clearTxServeDenylist', {}],
    ['sendMeshPacket', { peer: '1.2.3.4:1', packet: new Uint8Array(1) }],
    ['sendStratumV2Message', { peer: '1.2.3.4:1', message: new Uint8Array(1) }],
  ];

  it.each(requests)('%s: NODE_LACKS_FEATURE without a network', async (rpc, request) => {
    const { node } = createNodeDouble();
    const service = createNetworkService({ node, denylists: createServeDenylists(node), moduleId: 'a' });
    expect(await reasonOf(() => (service[rpc] as Handler)(request, context))).toBe('NODE_LACKS_FEATURE');
  });

  it.each(requests.slice(2).filter(([rpc]) => rpc !== 'banPeer'))(
    '%s: NODE_LACKS_FEATURE when the network cannot do it',
    async (rpc, request) => {
      const { node } = rig();
      const { getStats, getPeers, banPeer } = node.network as NetworkApi;
      const bare = createNodeDouble({ network: { getStats, getPeers, banPeer } }).node;
      const service = createNetworkService({ node: bare, denylists: createServeDenylists(bare), moduleId: 'a' });
      expect(await reasonOf(() => (service[rpc] as Handler)(request, context))).toBe('NODE_LACKS_FEATURE');
    },
  );
});

describe('peers', () => {
  it('pages in the order of ids', async () => {
    const { a } = rig({}, 5);
    const ids: number[] = [];
    let pageToken: Uint8Array = new Uint8Array(0);
    do {
      const page = (await a.getPeers({ pageSize: 2, pageToken }, context)) as GetPeersResponse;
      ids.push(...page.peers.map((one) => one.id));
      pageToken = page.nextPageToken;
    } while (pageToken.byteLength > 0);
    expect(ids).toEqual([1, 2, 3, 4, 5]);
  });

  it.each(['1.2.3.4', '1.2.3.4:8333', '[::1]:8333', '[2001:db8::1]', '::1', 'expyuzz4wqqyqhjn.onion:8333', 'host'])(
    'bans %s',
    async (address) => {
      const { a, told } = rig();
      await a.banPeer({ address, durationMs: 60_000n }, context);
      expect(told.bans).toEqual([[address, 60_000]]);
    },
  );

  it.each(['1.2.3.4:1', 'tcp:1.2.3.4:1', 'quinn:[::1]:9', `iroh:${'0a'.repeat(32)}`])(
    'sends to %s',
    async (address) => {
      const { a } = rig();
      expect(await a.sendMeshPacket({ peer: address, packet: new Uint8Array(1) }, context)).toEqual({});
      expect(await a.sendStratumV2Message({ peer: address, message: new Uint8Array(1) }, context)).toEqual({});
    },
  );
});

describe('denylists', () => {
  it('serves the union, and no module touches the entries of another', async () => {
    const { a, b, told } = rig();
    expect(await a.mergeBlockServeDenylist({ hashes: [hash(1), hash(2)] }, context)).toEqual({
      ownCount: 2,
      totalCount: 2,
    });
    expect(await b.mergeBlockServeDenylist({ hashes: [hash(2), hash(3)] }, context)).toEqual({
      ownCount: 2,
      totalCount: 3,
    });
    expect(await b.clearBlockServeDenylist({}, context)).toEqual({ removedCount: 2, totalCount: 2 });
    expect(told.block).toEqual([hash(1), hash(2)].map(toHex));
    await b.replaceBlockServeDenylist({ hashes: [hash(9)] }, context);
    expect(told.block).toEqual([hash(1), hash(2), hash(9)].map(toHex));
    expect(told.transaction).toEqual([]);
  });

  it('gives what a module owned back when its session ends', async () => {
    const { a, b, told, denylists } = rig();
    await a.mergeBlockServeDenylist({ hashes: [hash(1)] }, context);
    await a.mergeTxServeDenylist({ hashes: [hash(4)] }, context);
    await a.setBlockServeMaintenanceMode({ enabled: true }, context);
    await b.mergeBlockServeDenylist({ hashes: [hash(2)] }, context);
    await denylists.release('a', signal);
    expect(told).toMatchObject({ block: [toHex(hash(2))], transaction: [], maintenance: [true, false] });
    await denylists.release('a', signal);
    expect(told.maintenance).toEqual([true, false]);
  });

  it('pages the union or the own entries, sorted', async () => {
    const { a, b } = rig();
    await a.mergeBlockServeDenylist({ hashes: [300, 5, 70_000, 2].map(hash) }, context);
    await b.mergeBlockServeDenylist({ hashes: [hash(4)] }, context);
    const first = (await a.getBlockServeDenylist({ ...LIST, pageSize: 3 }, context)) as GetBlockServeDenylistResponse;
    expect(first.hashes).toEqual([2, 4, 5].map(hash));
    expect(first.totalCount).toBe(5);
    const rest = await a.getBlockServeDenylist({ ...LIST, pageToken: first.nextPageToken }, context);
    expect(rest).toMatchObject({ hashes: [300, 70_000].map(hash), nextPageToken: new Uint8Array(0) });
    expect(await b.getBlockServeDenylist({ ...LIST, ownOnly: true }, context)).toMatchObject({ hashes: [hash(4)] });
  });

  it('holds a module to 100,000 entries and adds nothing beyond', async () => {
    const { a, denylists } = rig();
    for (let start = 0; start < MAX_OWNED_HASHES; start += 4_000) {
      const hashes = Array.from({ length: 4_000 }, (_, index) => hash(start + index));
      await a.mergeBlockServeDenylist({ hashes }, context);
    }
    const one = { hashes: [hash(MAX_OWNED_HASHES)] };
    expect(await reasonOf(() => a.mergeBlockServeDenylist(one, context))).toBe('QUOTA_EXCEEDED');
    expect(denylists.list('block', 'a').length).toBe(MAX_OWNED_HASHES);
    expect(await reasonOf(() => a.mergeBlockServeDenylist({ hashes: [hash(1)] }, context))).toBe('none');
  });

  it('changes nothing when the node does not take the change', async () => {
    let refuse = true;
    const { a, denylists } = rig({
      setServeDenylist: async () => {
        if (refuse) throw new HostError('NODE_UNAVAILABLE', 'gone');
      },
    });
    const change = () => a.mergeBlockServeDenylist({ hashes: [hash(1)] }, context);
    expect(await reasonOf(change)).toBe('NODE_UNAVAILABLE');
    expect(denylists.list('block', undefined)).toEqual([]);
    refuse = false;
    expect(await change()).toEqual({ ownCount: 1, totalCount: 1 });
  });

  it('tells the node one change after the other, the newest union last', async () => {
    const arrived: number[] = [];
    const { a, b } = rig({
      setServeDenylist: async (_kind, hashes) => {
        // the first takes longest: without turns it would arrive last
        await new Promise((resolve) => setTimeout(resolve, arrived.length === 0 ? 20 : 0));
        arrived.push(hashes.length);
      },
    });
    await Promise.all([
      a.mergeBlockServeDenylist({ hashes: [hash(1)] }, context),
      b.mergeBlockServeDenylist({ hashes: [hash(2)] }, context),
      a.mergeBlockServeDenylist({ hashes: [hash(3)] }, context),
    ]);
    expect(arrived).toEqual([1, 2, 3]);
  });

  it('tells a restarted node everything again, also what could not be told at a release', async () => {
    let down = false;
    const last: Record<string, number> = {};
    const { a, b, denylists } = rig({
      setServeDenylist: async (kind, hashes) => {
        if (down) throw new HostError('NODE_UNAVAILABLE', 'gone');
        last[kind] = hashes.length;
      },
    });
    await denylists.resend(signal);
    expect(last).toEqual({});
    await a.mergeBlockServeDenylist({ hashes: [hash(1)] }, context);
    await b.mergeBlockServeDenylist({ hashes: [hash(2)] }, context);
    down = true;
    expect(await reasonOf(() => denylists.release('a', signal))).toBe('NODE_UNAVAILABLE');
    down = false;
    await denylists.resend(signal);
    expect(last).toEqual({ block: 1 });
  });

  it('keeps maintenance mode on while any module wants it', async () => {
    const { a, b, told } = rig();
    expect(await a.setBlockServeMaintenanceMode({ enabled: true }, context)).toEqual({ enabled: true });
    expect(await b.setBlockServeMaintenanceMode({ enabled: true }, context)).toEqual({ enabled: true });
    expect(await a.setBlockServeMaintenanceMode({ enabled: false }, context)).toEqual({ enabled: true });
    expect(await b.setBlockServeMaintenanceMode({ enabled: false }, context)).toEqual({ enabled: false });
    expect(told.maintenance).toEqual([true, false]);
  });
});
