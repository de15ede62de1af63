import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { previousHashOf } from '../../core/bitcoin/header.js';
import { equalBytes, hashToDisplay } from '../../core/bytes.js';
import type { HeaderAt, NetworkName, SyncState } from '../node-api.js';
import {
  assertHeaderHash,
  type ChainSummary,
  chainSummary,
  hashText,
  headerBytes,
  hexText,
  type VerboseHeader,
  verboseBlock,
  verboseHeader,
} from './answers.js';
import type { FollowedBlock } from './chain-follower.js';
import { type RpcCall, type RpcClient, resultOf } from './rpc-client.js';
import { RPC, type RpcFailure } from './rpc-failure.js';

/** Calls about the chain that Bitcoin Core and btcd answer alike. */

/** Tells the failures of a call that names a block. Bitcoin Core, rpc/blockchain.cpp; btcd, rpcserver.go. */
export function explainBlock(failure: RpcFailure): HostError | undefined {
  if (failure.code === RPC.NOT_FOUND) return new HostError('BLOCK_NOT_FOUND', 'the node knows no such block');
  if (failure.code !== RPC.MISC) return undefined;
  if (failure.message.includes('pruned')) {
    return new HostError('BLOCK_PRUNED', 'the node is pruned and has deleted the body of this block');
  }
  // A header without its body yet: "not fully downloaded", "not found on disk".
  if (/not fully downloaded|not found on disk/i.test(failure.message)) {
    return new HostError('BLOCK_NOT_FOUND', 'the node has the header of this block, but not its body yet');
  }
  return undefined;
}

/** Hashes of the active chain at these heights, in one exchange; undefined above the tip. */
export async function getHashes(
  rpc: RpcClient,
  heights: readonly number[],
  signal: AbortSignal,
): Promise<(Uint8Array | undefined)[]> {
  const calls = heights.map((height): RpcCall => ({ method: 'getblockhash', params: [height] }));
  const outcomes = await rpc.batch(calls, { signal });
  return outcomes.map((outcome) => {
    if ('failure' in outcome && isAboveTip(outcome.failure)) return undefined;
    return resultOf('getblockhash', outcome, hashText);
  });
}

/** Both nodes call it "out of range"; Bitcoin Core with -8, btcd with -1. */
function isAboveTip(failure: RpcFailure): boolean {
  return failure.code === RPC.INVALID_PARAMETER || /out of range/i.test(failure.message);
}

/** Verbose header of a block. @throws BLOCK_NOT_FOUND */
export function getVerboseHeader(rpc: RpcClient, hash: Uint8Array, signal: AbortSignal): Promise<VerboseHeader> {
  const params = [hashToDisplay(hash), true];
  return rpc.call('getblockheader', params, verboseHeader, { signal, explain: explainBlock });
}

/** 80 bytes of a header, of stale branches as well, proven by their hash. @throws BLOCK_NOT_FOUND */
export async function getRawHeader(rpc: RpcClient, hash: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const params = [hashToDisplay(hash), false];
  const header = await rpc.call('getblockheader', params, hexText, { signal, explain: explainBlock });
  assertHeaderHash(header, hash);
  return header;
}

/** Block by RPC as its bytes, proven by its header's hash. @throws BLOCK_NOT_FOUND, BLOCK_PRUNED */
export async function getRawBlock(rpc: RpcClient, hash: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const params = [hashToDisplay(hash), 0];
  const raw = await rpc.call('getblock', params, hexText, { signal, explain: explainBlock, plainNumbers: true });
  assertHeaderHash(raw, hash);
  return raw;
}

/** A verbose header in the port's terms. */
export function headerAt(answer: VerboseHeader): HeaderAt {
  return {
    hash: answer.hash,
    height: answer.height,
    header: headerBytes(answer),
    confirmations: Math.max(0, answer.confirmations),
    txCount: answer.nTx ?? 0,
  };
}

/** Headers of the active chain upwards; ends early where the chain changed between two answers. @throws NO_CHAIN_HEIGHT */
export async function getHeaders(
  rpc: RpcClient,
  fromHeight: number,
  count: number,
  signal: AbortSignal,
): Promise<HeaderAt[]> {
  const heights = Array.from({ length: count }, (_, i) => fromHeight + i);
  const hashes = await getHashes(rpc, heights, signal);
  const end = hashes.indexOf(undefined);
  const known = (end === -1 ? hashes : hashes.slice(0, end)).filter((hash) => hash !== undefined);
  if (known.length === 0) {
    if (count > 0) throw new HostError('NO_CHAIN_HEIGHT', `height ${fromHeight} lies above the tip`);
    return [];
  }
  const calls = known.map((hash): RpcCall => ({ method: 'getblockheader', params: [hashToDisplay(hash), true] }));
  const outcomes = await rpc.batch(calls, { signal });
  const headers: HeaderAt[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    const before = headers[i - 1];
    // A block that a reorganisation takes away meanwhile: what stands is a prefix that was true at one moment.
    if (before !== undefined && 'failure' in outcome) break;
    const header = headerAt(resultOf('getblockheader', outcome, verboseHeader, explainBlock));
    if (before !== undefined && !equalBytes(previousHashOf(header.header), before.hash)) break;
    headers.push(header);
  }
  return headers;
}

/** A block as the follower tells it; a pruned body leaves size, weight and ids out. @throws BLOCK_NOT_FOUND */
export async function getFollowedBlock(rpc: RpcClient, hash: Uint8Array, signal: AbortSignal): Promise<FollowedBlock> {
  try {
    const params = [hashToDisplay(hash), 1];
    const block = await rpc.call('getblock', params, verboseBlock, { signal, explain: explainBlock });
    return {
      hash,
      height: block.height,
      header: headerBytes(block),
      txCount: block.tx.length,
      sizeBytes: block.size,
      weight: block.weight,
      txids: block.tx,
    };
  } catch (error) {
    if (HostError.from(error).reason !== 'BLOCK_PRUNED') throw error;
    const { height, header, txCount } = headerAt(await getVerboseHeader(rpc, hash, signal));
    return { hash, height, header, txCount, sizeBytes: 0, weight: 0, txids: [] };
  }
}

/** `getblockchaininfo`. */
export function getChainSummary(rpc: RpcClient, signal: AbortSignal): Promise<ChainSummary> {
  return rpc.call('getblockchaininfo', [], chainSummary, { signal });
}

/** Share of verification, between 0 and 1, out of what a node says. */
export function clampProgress(progress: number): number {
  return Math.min(1, Math.max(0, progress));
}

/** The sync state that heights and flags amount to; `stalled` is told by the follower, which has a memory. */
export function syncStateOf(blocks: number, headers: number, download: boolean, progress: number): SyncState {
  const behind = headers > blocks + 1;
  const phase = behind ? 'blocks' : download ? 'headers' : 'synced';
  return { phase, progress: clampProgress(progress), blocks, headers, initialBlockDownload: download };
}

/** Network by Bitcoin Core's names or btcd's. */
export function networkName(chain: string): NetworkName {
  const names: Record<string, NetworkName> = {
    main: 'main',
    mainnet: 'main',
    test: 'test',
    testnet3: 'test',
    testnet4: 'testnet4',
    signet: 'signet',
    regtest: 'regtest',
  };
  return Object.hasOwn(names, chain) ? (names[chain] ?? 'unknown') : 'unknown';
}

/** Accepts any answer: for calls whose success is all that counts. */
export const anyAnswer = z.unknown();
