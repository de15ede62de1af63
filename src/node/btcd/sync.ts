import { z } from 'zod';

import { parseHeader } from '../../core/bitcoin/header.js';
import type { Clock } from '../../core/clock.js';
import { getChainSummary, getRawHeader, networkName, syncStateOf } from '../jsonrpc/chain-calls.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import type { BlockPosition, SyncState } from '../node-api.js';

/** A tip older than this means that the node is downloading: btcd's own rule for being current. */
const CURRENT_TIP_AGE_S = 24 * 3_600;

const peerHeights = z.array(z.object({ currentheight: z.number().int().optional(), startingheight: z.number().int() }));

/**
 * Progress of btcd, which has no figure of its own for it: the best height that a peer claims stands for the best
 * header, and the age of the tip for the download, as in btcd's own check. Regtest is always current: nobody mines
 * there by the clock.
 */
export async function getBtcdSync(
  rpc: RpcClient,
  clock: Pick<Clock, 'unixMs'>,
  signal: AbortSignal,
): Promise<{ sync: SyncState; tip: BlockPosition }> {
  const summary = await getChainSummary(rpc, signal);
  const tip = { hash: summary.bestblockhash, height: summary.blocks };
  if (networkName(summary.chain) === 'regtest' || summary.chain === 'simnet') {
    return { sync: syncStateOf(tip.height, tip.height, false, 1), tip };
  }
  const header = parseHeader(await getRawHeader(rpc, tip.hash, signal));
  const peers = await rpc.call('getpeerinfo', [], peerHeights, { signal });
  const claimed = peers.map((peer) => Math.max(peer.currentheight ?? 0, peer.startingheight));
  const headers = Math.max(summary.headers, tip.height, median(claimed));
  const download = clock.unixMs() / 1_000 - header.timeUnixS > CURRENT_TIP_AGE_S;
  return { sync: syncStateOf(tip.height, headers, download, tip.height / Math.max(1, headers)), tip };
}

/** The middle claim: one lying peer moves it nowhere. */
function median(heights: readonly number[]): number {
  const sorted = [...heights].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
