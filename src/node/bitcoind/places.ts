import { homedir } from 'node:os';
import { join } from 'node:path';

import type { NetworkName } from '../node-api.js';

/** Where Bitcoin Core keeps a network's files below its data directory, and listens. Core: chainparamsbase.cpp */
export interface NetworkPlace {
  network: NetworkName;
  /** Name of the section in bitcoin.conf. */
  section: string;
  /** Directory below the data directory; empty for mainnet. */
  directory: string;
  rpcPort: number;
}

/** Networks of Bitcoin Core. */
export const NETWORK_PLACES: readonly NetworkPlace[] = [
  { network: 'main', section: 'main', directory: '', rpcPort: 8332 },
  { network: 'test', section: 'test', directory: 'testnet3', rpcPort: 18332 },
  { network: 'testnet4', section: 'testnet4', directory: 'testnet4', rpcPort: 48332 },
  { network: 'signet', section: 'signet', directory: 'signet', rpcPort: 38332 },
  { network: 'regtest', section: 'regtest', directory: 'regtest', rpcPort: 18443 },
];

/** Place of a network; mainnet's for one that Bitcoin Core does not have. */
export function placeOf(network: NetworkName | undefined): NetworkPlace {
  const fallback = { network: 'main', section: 'main', directory: '', rpcPort: 8332 } as const;
  return NETWORK_PLACES.find((place) => place.network === network) ?? fallback;
}

/** Bitcoin Core's data directory where the operator names none. */
export function defaultDataDir(): string {
  return process.platform === 'darwin'
    ? join(homedir(), 'Library', 'Application Support', 'Bitcoin')
    : join(homedir(), '.bitcoin');
}

/** Cookie file of a network. */
export function cookiePath(dataDir: string, place: NetworkPlace): string {
  return join(dataDir, place.directory, '.cookie');
}
