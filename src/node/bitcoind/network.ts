import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { bigCount, count, figure, netTotals } from '../jsonrpc/answers.js';
import { anyAnswer } from '../jsonrpc/chain-calls.js';
import { hostOf } from '../jsonrpc/peer-address.js';
import { type RpcClient, resultOf } from '../jsonrpc/rpc-client.js';
import { hostErrorOf, RPC } from '../jsonrpc/rpc-failure.js';
import type { NetworkApi, Peer } from '../node-api.js';

/** "As long as the node can": a ban needs an end, and a hundred years outlast any node. */
const LONGEST_BAN_S = 100 * 365 * 24 * 3_600;

/** `getnetworkinfo`. */
export const networkSummary = z.object({
  version: count,
  subversion: z.string(),
  connections: count,
  connections_in: count.optional(),
  connections_out: count.optional(),
  networkactive: z.boolean().optional(),
});

const peerEntry = z.object({
  id: count,
  addr: z.string(),
  network: z.string().optional(),
  services: z.string().optional(),
  version: count,
  subver: z.string(),
  inbound: z.boolean(),
  conntime: count,
  bytessent: bigCount,
  bytesrecv: bigCount,
  pingtime: figure.optional(),
});

const TRANSPORTS = ['ipv4', 'ipv6', 'onion', 'i2p', 'cjdns'];

/** Network of Bitcoin Core; `banned` hears of each ban that succeeded. */
export function createBitcoindNetwork(
  rpc: RpcClient,
  banned: (address: string, durationMs: number) => void,
): NetworkApi {
  return {
    async getStats(signal) {
      const calls = [
        { method: 'getnetworkinfo', params: [] },
        { method: 'getnettotals', params: [] },
        { method: 'getnetworkhashps', params: [] },
      ];
      const [summary, totals, rate] = await rpc.batch(calls, { signal });
      const network = resultOf('getnetworkinfo', summary, networkSummary);
      const bytes = resultOf('getnettotals', totals, netTotals);
      return {
        peerCount: network.connections,
        inboundCount: network.connections_in ?? 0,
        outboundCount: network.connections_out ?? 0,
        bytesSent: bytes.totalbytessent,
        bytesReceived: bytes.totalbytesrecv,
        hashRate: resultOf('getnetworkhashps', rate, figure),
        networkActive: network.networkactive ?? true,
      };
    },

    async getPeers(signal) {
      return (await rpc.call('getpeerinfo', [], z.array(peerEntry), { signal })).map(peerOf);
    },

    async banPeer(address, durationMs, signal) {
      const seconds = durationMs === 0 ? LONGEST_BAN_S : Math.max(1, Math.round(durationMs / 1_000));
      const params = [hostOf(address), 'add', seconds];
      const [outcome] = await rpc.batch([{ method: 'setban', params }], { signal });
      if (outcome !== undefined && 'failure' in outcome) {
        // Already banned: the wish is fulfilled, the earlier end stands.
        if (outcome.failure.code === RPC.ALREADY_ADDED) return;
        if (outcome.failure.code === RPC.INVALID_ADDRESS) {
          throw new HostError('INVALID_REQUEST', `the node knows no such address: ${outcome.failure.message}`);
        }
        throw hostErrorOf(outcome.failure);
      }
      resultOf('setban', outcome, anyAnswer);
      banned(hostOf(address), durationMs);
    },
  };
}

function peerOf(entry: z.infer<typeof peerEntry>): Peer {
  return {
    id: entry.id,
    address: entry.addr,
    inbound: entry.inbound,
    transport: TRANSPORTS.includes(entry.network ?? '') ? (entry.network ?? '') : '',
    services: /^[0-9a-fA-F]{1,16}$/.test(entry.services ?? '') ? BigInt(`0x${entry.services}`) : 0n,
    protocolVersion: entry.version,
    userAgent: entry.subver,
    connectedSinceUnixS: entry.conntime,
    bytesSent: entry.bytessent,
    bytesReceived: entry.bytesrecv,
    pingUs: Math.round((entry.pingtime ?? 0) * 1_000_000),
  };
}
