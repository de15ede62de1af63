import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { bigCount, count, figure, netTotals } from '../jsonrpc/answers.js';
import { type RpcClient, resultOf } from '../jsonrpc/rpc-client.js';
import type { NetworkApi, Peer } from '../node-api.js';

const peerEntry = z.object({
  id: count,
  addr: z.string(),
  /** Decimal, unlike Bitcoin Core's hex. */
  services: z.string(),
  version: count,
  subver: z.string(),
  inbound: z.boolean(),
  conntime: z.number().int(),
  bytessent: bigCount,
  bytesrecv: bigCount,
  /** Microseconds, unlike Bitcoin Core's seconds. */
  pingtime: figure,
});

/** Network of btcd, which knows no bans by RPC. */
export function createBtcdNetwork(rpc: RpcClient): NetworkApi {
  const getPeers = async (signal: AbortSignal): Promise<Peer[]> =>
    (await rpc.call('getpeerinfo', [], z.array(peerEntry), { signal })).map(peerOf);

  return {
    getPeers,

    async getStats(signal) {
      const calls = [
        { method: 'getpeerinfo', params: [] },
        { method: 'getnettotals', params: [] },
        { method: 'getnetworkhashps', params: [] },
      ];
      const [listed, totals, rate] = await rpc.batch(calls, { signal });
      const peers = resultOf('getpeerinfo', listed, z.array(peerEntry));
      const bytes = resultOf('getnettotals', totals, netTotals);
      const inboundCount = peers.filter((peer) => peer.inbound).length;
      return {
        peerCount: peers.length,
        inboundCount,
        outboundCount: peers.length - inboundCount,
        bytesSent: bytes.totalbytessent,
        bytesReceived: bytes.totalbytesrecv,
        hashRate: Math.max(0, resultOf('getnetworkhashps', rate, figure)),
        networkActive: true,
      };
    },

    async banPeer() {
      throw new HostError('NODE_LACKS_FEATURE', 'btcd can disconnect a peer, but has no ban by RPC');
    },
  };
}

function peerOf(entry: z.infer<typeof peerEntry>): Peer {
  return {
    id: entry.id,
    address: entry.addr,
    inbound: entry.inbound,
    transport: transportOf(entry.addr),
    services: /^[0-9]{1,20}$/.test(entry.services) ? BigInt(entry.services) : 0n,
    protocolVersion: entry.version,
    userAgent: entry.subver,
    connectedSinceUnixS: Math.max(0, entry.conntime),
    bytesSent: entry.bytessent,
    bytesReceived: entry.bytesrecv,
    pingUs: Math.round(entry.pingtime),
  };
}

function transportOf(address: string): string {
  if (address.includes('.onion:')) return 'onion';
  if (address.startsWith('[')) return 'ipv6';
  return /^[0-9.]+:[0-9]+$/.test(address) ? 'ipv4' : '';
}
