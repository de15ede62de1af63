import { HostError, throwIfAborted } from '../../contract/error.js';
import type { NetworkApi } from '../node-api.js';
import type { Opened } from './chain-api.js';

/** Figures of a chain that lives in one process: no peers, no traffic, no network to be on. */
export function createNetworkApi(opened: Opened): NetworkApi {
  return {
    async getStats(signal) {
      throwIfAborted(signal);
      opened();
      return {
        peerCount: 0,
        inboundCount: 0,
        outboundCount: 0,
        bytesSent: 0n,
        bytesReceived: 0n,
        hashRate: 0,
        networkActive: false,
      };
    },
    async getPeers(signal) {
      throwIfAborted(signal);
      opened();
      return [];
    },
    async banPeer() {
      throw new HostError('NODE_LACKS_FEATURE', 'the devchain has no peers to ban');
    },
  };
}
