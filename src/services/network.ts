import type { NetworkServiceService } from '../../gen/ts/modhost/v1/network.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import type { NodeApi } from '../node/node-api.js';
import {
  atMost,
  pageSize,
  requireBytes,
  requireFeature,
  requireHash,
  requireList,
  requireRange,
  requireText,
} from './check.js';
import { type HashPage, pageOfHashes, readPageToken } from './hash-page.js';
import type { DenylistKind, ServeDenylists } from './network-denylist.js';

/** Peers of one page: about 300 KiB with user agents of the longest kind. */
export const MAX_PEERS_PER_PAGE = 1_000;
/** Hashes of one page or one change: 128 KiB. */
export const MAX_HASHES_PER_MESSAGE = 4_096;
/** Payload of one packet or message to a peer, bytes. */
export const MAX_PEER_PAYLOAD_BYTES = 1024 * 1024;
/** Longest ban, milliseconds: ten years. */
const MAX_BAN_MS = 315_360_000_000n;
/** Longest address of a peer in any of the forms, bytes. */
const MAX_ADDRESS_BYTES = 256;
/** Bytes of a page token of peers: the last id, big-endian. */
const PEER_TOKEN_BYTES = 4;

/** A name or IPv4 address, or an IPv6 address in brackets, each with or without port; or a bare IPv6 address. */
const HOST_AND_PORT = /^(?:(?:[\w.-]+|\[[\da-f:.]+\])(?::(\d{1,5}))?|[\da-f]*:[\da-f:.]*:[\da-f:.]*)$/i;
/** The same behind the name of a transport, or the key of an iroh endpoint. */
const PEER_ADDRESS = /^(?:iroh:[\da-f]{64}|(?:tcp:|quinn:)?(?:[\w.-]+|\[[\da-f:.]+\]):(\d{1,5}))$/i;

/** What the network service of one module needs. */
export interface NetworkDeps {
  /** The port, budgeted for the module. */
  node: NodeApi;
  /** The host's one store of serve denylists. */
  denylists: ServeDenylists;
  /** Owner of what this module denies. */
  moduleId: string;
}

/** Answers reads of and acts on the network. */
export function createNetworkService({
  node,
  denylists,
  moduleId,
}: NetworkDeps): ServiceImpl<typeof NetworkServiceService> {
  const network = () => requireFeature(node.network, 'network');
  const merge = async (kind: DenylistKind, hashes: readonly Uint8Array[], signal: AbortSignal) =>
    denylists.merge(moduleId, kind, requireHashes(requireList(hashes, MAX_HASHES_PER_MESSAGE, 'hashes')), signal);
  const replace = async (kind: DenylistKind, hashes: readonly Uint8Array[], signal: AbortSignal) =>
    denylists.replace(moduleId, kind, requireHashes(atMost(hashes, MAX_HASHES_PER_MESSAGE, 'hashes')), signal);
  const clear = async (kind: DenylistKind, signal: AbortSignal) => {
    const removedCount = denylists.list(kind, moduleId).length;
    const { totalCount } = await denylists.replace(moduleId, kind, [], signal);
    return { removedCount, totalCount };
  };
  const page = async (kind: DenylistKind, request: DenylistRequest): Promise<HashPage> => {
    const size = pageSize(request.pageSize, MAX_HASHES_PER_MESSAGE, MAX_HASHES_PER_MESSAGE);
    const after = readPageToken(request.pageToken);
    return pageOfHashes(denylists.list(kind, request.ownOnly ? moduleId : undefined), after, size);
  };

  return {
    async getStats(_request, { signal }) {
      return network().getStats(signal);
    },
    async getPeers({ pageSize: wish, pageToken }, { signal }) {
      const size = pageSize(wish, MAX_PEERS_PER_PAGE, MAX_PEERS_PER_PAGE);
      const after = readPeerToken(pageToken);
      const all = await network().getPeers(signal);
      const rest = all.filter((peer) => peer.id > after).sort((a, b) => a.id - b.id);
      const peers = rest.slice(0, size);
      const last = rest.length > size ? peers.at(-1) : undefined;
      return { peers, nextPageToken: last === undefined ? new Uint8Array(0) : writePeerToken(last.id) };
    },
    getBlockServeDenylist: (request) => page('block', request),
    getTxServeDenylist: (request) => page('transaction', request),
    async banPeer({ address, durationMs }, { signal }) {
      requireAddress(address, HOST_AND_PORT, 'address');
      requireRange(durationMs, 0n, MAX_BAN_MS, 'duration_ms');
      await network().banPeer(address, Number(durationMs), signal);
      return {};
    },
    async setBlockServeMaintenanceMode({ enabled }, { signal }) {
      return { enabled: await denylists.setMaintenance(moduleId, enabled, signal) };
    },
    mergeBlockServeDenylist: ({ hashes }, { signal }) => merge('block', hashes, signal),
    replaceBlockServeDenylist: ({ hashes }, { signal }) => replace('block', hashes, signal),
    clearBlockServeDenylist: (_request, { signal }) => clear('block', signal),
    mergeTxServeDenylist: ({ hashes }, { signal }) => merge('transaction', hashes, signal),
    replaceTxServeDenylist: ({ hashes }, { signal }) => replace('transaction', hashes, signal),
    clearTxServeDenylist: (_request, { signal }) => clear('transaction', signal),
    async sendMeshPacket({ peer, packet }, { signal }) {
      requireAddress(peer, PEER_ADDRESS, 'peer');
      requireBytes(packet, MAX_PEER_PAYLOAD_BYTES, 'packet');
      const target = network();
      await requireFeature(target.sendMeshPacket?.bind(target), 'send-mesh')(peer, packet, signal);
      return {};
    },
    async sendStratumV2Message({ peer, message }, { signal }) {
      requireAddress(peer, PEER_ADDRESS, 'peer');
      requireBytes(message, MAX_PEER_PAYLOAD_BYTES, 'message');
      const target = network();
      await requireFeature(target.sendStratumMessage?.bind(target), 'send-stratum')(peer, message, signal);
      return {};
    },
  };
}

interface DenylistRequest {
  pageSize: number;
  pageToken: Uint8Array;
  ownOnly: boolean;
}

function requireHashes(hashes: readonly Uint8Array[]): readonly Uint8Array[] {
  hashes.forEach((hash, index) => {
    requireHash(hash, `hashes[${index}]`);
  });
  return hashes;
}

function requireAddress(address: string, form: RegExp, field: string): void {
  const match = form.exec(requireText(address, MAX_ADDRESS_BYTES, field));
  const port = Number(match?.[1] ?? 1);
  if (match === null || port < 1 || port > 0xffff) {
    throw new HostError('INVALID_REQUEST', `${field} is no address of the forms that the contract gives`);
  }
}

function readPeerToken(token: Uint8Array): number {
  if (token.byteLength === 0) return -1;
  if (token.byteLength !== PEER_TOKEN_BYTES) throw new HostError('INVALID_REQUEST', 'page_token is not of this rpc');
  return new DataView(token.buffer, token.byteOffset).getUint32(0);
}

function writePeerToken(id: number): Uint8Array {
  const token = new Uint8Array(PEER_TOKEN_BYTES);
  new DataView(token.buffer).setUint32(0, id);
  return token;
}
