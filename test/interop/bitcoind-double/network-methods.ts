import { isIP } from 'node:net';
import type { Peer } from '../../../src/node/node-api.js';
import { type Method, numberParam, RPC_CODE, RpcError, textParam } from './call.js';
import { btc, type Json } from './json.js';

/** Version that the double claims, as a number and as a user agent. */
const VERSION = 290_000;
const USER_AGENT = '/Satoshi:29.0.0/';
const PROTOCOL_VERSION = 70_016;
/** Core's relay floor, satoshis per 1,000 virtual bytes. */
const RELAY_FEE = 1_000n;
/** Core's default ban, seconds. */
const DEFAULT_BAN_S = 86_400;

/** Methods about the network and the node itself. */
export const networkMethods: Readonly<Record<string, Method>> = {
  getnetworkinfo: {
    names: [],
    run: async (_, { node, signal }) => {
      const stats = await node.network?.getStats(signal);
      return {
        version: VERSION,
        subversion: USER_AGENT,
        protocolversion: PROTOCOL_VERSION,
        localservices: '0000000000000c09',
        localservicesnames: ['NETWORK', 'WITNESS', 'NETWORK_LIMITED', 'P2P_V2'],
        localrelay: true,
        timeoffset: 0,
        networkactive: stats?.networkActive ?? true,
        connections: stats?.peerCount ?? 0,
        connections_in: stats?.inboundCount ?? 0,
        connections_out: stats?.outboundCount ?? 0,
        networks: [],
        relayfee: btc(RELAY_FEE),
        incrementalfee: btc(RELAY_FEE),
        localaddresses: [],
        warnings: [],
      };
    },
  },
  getpeerinfo: {
    names: [],
    run: async (_, { node, signal }) => ((await node.network?.getPeers(signal)) ?? []).map(peerJson),
  },
  getconnectioncount: {
    names: [],
    run: async (_, { node, signal }) => (await node.network?.getStats(signal))?.peerCount ?? 0,
  },
  getnettotals: {
    names: [],
    run: async (_, { node, signal }) => {
      const stats = await node.network?.getStats(signal);
      return {
        totalbytesrecv: stats?.bytesReceived ?? 0n,
        totalbytessent: stats?.bytesSent ?? 0n,
        timemillis: Date.now(),
        uploadtarget: {
          timeframe: 86_400,
          target: 0,
          target_reached: false,
          serve_historical_blocks: true,
          bytes_left_in_cycle: 0,
          time_left_in_cycle: 0,
        },
      };
    },
  },
  setban: {
    names: ['subnet', 'command', 'bantime', 'absolute'],
    run: async ([subnet, command, duration], { banned }) => {
      const address = textParam(subnet, 'subnet');
      const [host, bits] = address.split('/');
      if (isIP(host ?? '') === 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) {
        throw new RpcError(RPC_CODE.invalidAddress, 'Error: Invalid IP/Subnet');
      }
      if (command === 'add') {
        if (banned.has(address)) throw new RpcError(RPC_CODE.alreadyBanned, 'Error: IP/Subnet already banned');
        numberParam(duration, 'bantime', DEFAULT_BAN_S);
        banned.add(address);
        return null;
      }
      if (command !== 'remove') throw new RpcError(RPC_CODE.misc, 'setban "subnet" "command" ( bantime absolute )');
      if (!banned.delete(address)) {
        const words = 'Error: Unban failed. Requested address/subnet was not previously manually banned.';
        throw new RpcError(RPC_CODE.invalidAddress, words);
      }
      return null;
    },
  },
  listbanned: {
    names: [],
    run: async (_, { banned }) => [...banned].map((address) => ({ address, ban_created: 0, banned_until: 0 })),
  },
  disconnectnode: {
    names: ['address', 'nodeid'],
    run: async () => {
      throw new RpcError(-29, 'Node not found in connected nodes');
    },
  },
  getzmqnotifications: {
    names: [],
    run: async (_, { zmqAddress, zmqTopics }) =>
      zmqTopics.map((topic) => ({ type: `pub${topic}`, address: zmqAddress, hwm: 1_000 })),
  },
  uptime: {
    names: [],
    run: async (_, { startedUnixMs }) => Math.floor((Date.now() - startedUnixMs) / 1_000),
  },
};

function peerJson(peer: Peer): Json {
  return {
    id: peer.id,
    addr: peer.address,
    network: peer.transport === '' ? 'not_publicly_routable' : peer.transport,
    services: peer.services.toString(16).padStart(16, '0'),
    relaytxes: true,
    lastsend: peer.connectedSinceUnixS,
    lastrecv: peer.connectedSinceUnixS,
    bytessent: peer.bytesSent,
    bytesrecv: peer.bytesReceived,
    conntime: peer.connectedSinceUnixS,
    pingtime: peer.pingUs / 1_000_000,
    version: peer.protocolVersion,
    subver: peer.userAgent,
    inbound: peer.inbound,
    connection_type: peer.inbound ? 'inbound' : 'outbound-full-relay',
  };
}
