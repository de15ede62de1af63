import type { NodeEvent, Peer } from '../node-api.js';

/** A ban as the node lists it. */
export interface Ban {
  /** Address or subnet. */
  address: string;
  /** 0 when the node does not tell. */
  durationMs: number;
}

/** Tells what changed between two looks at peers and bans; the first look tells nothing. */
export interface PeerWatch {
  peers(now: readonly Peer[]): void;
  bans(now: readonly Ban[]): void;
  /** A ban that the host made itself: told at once, and not again at the next look. */
  banned(address: string, durationMs: number): void;
}

/** Makes a watch. */
export function createPeerWatch(emit: (event: NodeEvent) => void): PeerWatch {
  let peers: Map<number, Peer> | undefined;
  let bans: Set<string> | undefined;
  return {
    peers(now) {
      const next = new Map(now.map((peer) => [peer.id, peer]));
      const before = peers;
      peers = next;
      if (before === undefined) return;
      for (const [id, peer] of before) {
        if (next.get(id)?.address !== peer.address) emit({ type: 'PeerDisconnected', peer });
      }
      for (const [id, peer] of next) {
        if (before.get(id)?.address !== peer.address) emit({ type: 'PeerConnected', peer });
      }
    },
    bans(now) {
      const next = new Map(now.map((ban) => [plain(ban.address), ban]));
      const before = bans;
      bans = new Set(next.keys());
      if (before === undefined) return;
      for (const [address, ban] of next) {
        if (!before.has(address)) emit({ type: 'PeerBanned', address, durationMs: ban.durationMs });
      }
      for (const address of before) if (!next.has(address)) emit({ type: 'PeerUnbanned', address });
    },
    banned(address, durationMs) {
      if (bans?.has(plain(address)) === true) return;
      bans?.add(plain(address));
      emit({ type: 'PeerBanned', address: plain(address), durationMs });
    },
  };
}

/** A single address is listed as a subnet of itself. */
function plain(address: string): string {
  return address.replace(/\/(32|128)$/, '');
}
