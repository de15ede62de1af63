import { randomBytes } from 'node:crypto';
import { HostError } from '../contract/error.js';
import type { NodeKind } from '../manifest/operator.js';
import { connectBitcoind } from '../node/bitcoind/connect.js';
import { connectBtcd } from '../node/btcd/connect.js';
import type { NetworkName } from '../node/node-api.js';

/** Networks by Bitcoin Core's names. */
const NETWORKS: readonly NetworkName[] = ['main', 'test', 'testnet4', 'signet', 'regtest'];

/** What the operator says of the node to look for; all of it may be left out. */
export interface NodeSearch {
  network?: string | undefined;
  url?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  /** Its data directory (bitcoind) or home (btcd). */
  dir?: string | undefined;
  cookieFile?: string | undefined;
  tlsCa?: string | undefined;
}

/** What was found; see the adapters' connect reports. Holds a password: print it once, log it never. */
export type NodeReport = Awaited<ReturnType<typeof connectBitcoind>>;

/**
 * Looks for a node on this machine and tells which configuration lines it lacks. Changes nothing.
 *
 * @throws HostError BAD_CONFIG
 */
export async function findNode(kind: NodeKind, search: NodeSearch, signal: AbortSignal): Promise<NodeReport> {
  const network = NETWORKS.find((known) => known === search.network);
  if (search.network !== undefined && network === undefined) {
    throw new HostError('BAD_CONFIG', `no network is called so; there are ${NETWORKS.join(', ')}`);
  }
  const { url, user, password, dir, cookieFile, tlsCa } = search;
  switch (kind) {
    case 'bitcoind':
      return connectBitcoind({ network, url, user, password, cookieFile, dataDir: dir }, randomBytes, signal);
    case 'btcd':
      return connectBtcd({ network, url, user, password, tlsCa, home: dir }, randomBytes, signal);
    case 'devchain':
      throw new HostError('BAD_CONFIG', 'the devchain is embedded: there is nothing to connect');
  }
}
