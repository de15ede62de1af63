import assert from 'node:assert/strict';
import { type Case, rejects } from '../stage.js';

/** The node's network. */
export const networkCases: Case[] = [
  {
    id: 'network/stats/counts-add-up',
    needs: ['network'],
    run: async ({ network, signal }) => {
      const stats = await network().getStats(signal());
      assert.equal(stats.peerCount, stats.inboundCount + stats.outboundCount);
      assert.ok(stats.bytesSent >= 0n && stats.bytesReceived >= 0n);
      assert.ok(Number.isFinite(stats.hashRate) && stats.hashRate >= 0);
      assert.equal(typeof stats.networkActive, 'boolean');
    },
  },
  {
    id: 'network/peers/as-many-as-counted',
    needs: ['network'],
    run: async ({ network, signal }) => {
      const peers = await network().getPeers(signal());
      assert.equal(peers.length, (await network().getStats(signal())).peerCount);
      assert.equal(new Set(peers.map((peer) => peer.id)).size, peers.length);
    },
  },
  {
    id: 'network/ban/nonsense-address',
    needs: ['ban-peer'],
    run: async ({ network, signal }) => {
      await rejects(network().banPeer('not an address', 60_000, signal()), 'INVALID_REQUEST');
    },
  },
  {
    id: 'network/ban/address',
    needs: ['ban-peer'],
    run: async ({ network, signal }) => {
      // An address for documentation (RFC 5737): nobody is behind it.
      await network().banPeer('192.0.2.77', 60_000, signal());
    },
  },
];
