import { iterateBlockTransactions, measureBlock } from '../../../src/core/bitcoin/block.js';
import { parseHeader } from '../../../src/core/bitcoin/header.js';
import { difficultyFromBits, targetFromBits, uint256ToBytes } from '../../../src/core/bitcoin/target.js';
import { serializeTransaction, txid } from '../../../src/core/bitcoin/transaction.js';
import { equalBytes, hashToDisplay, toHex } from '../../../src/core/bytes.js';
import type { IndexedBlock } from './block-index.js';
import { type CallContext, hashParam, type Method, numberParam, RPC_CODE, RpcError, verbosityParam } from './call.js';
import { btc, type Json } from './json.js';
import { scriptJson, transactionJson } from './transaction-json.js';

const WALLET_HINT = 'Use gettransaction for wallet transactions.';

/** Methods of Bitcoin Core's "Blockchain" section and `getrawtransaction`. */
export const chainMethods: Readonly<Record<string, Method>> = {
  getblockchaininfo: { names: [], run: async (_, context) => await chainSummary(context) },
  getbestblockhash: { names: [], run: async (_, context) => hashToDisplay((await tipOf(context)).hash) },
  getblockcount: { names: [], run: async (_, context) => (await tipOf(context)).height },
  getblockhash: {
    names: ['height'],
    run: async ([height], context) => {
      const wanted = numberParam(height, 'height');
      const tip = await tipOf(context);
      if (wanted < 0 || wanted > tip.height) {
        throw new RpcError(RPC_CODE.invalidParameter, 'Block height out of range');
      }
      return hashToDisplay(await context.node.chain.getHash(wanted, context.signal));
    },
  },
  getblockheader: {
    names: ['blockhash', 'verbose'],
    run: async ([hash, verbose], context) => {
      const block = await findBlock(hashParam(hash, 'blockhash'), context);
      return verbose === false ? toHex(block.header) : await headerJson(block, context);
    },
  },
  getblock: {
    names: ['blockhash', 'verbosity'],
    run: async ([hash, verbosity], context) => {
      const block = await findBlock(hashParam(hash, 'blockhash'), context);
      if (block.height < context.settings.prunedBelow) {
        throw new RpcError(RPC_CODE.misc, 'Block not available (pruned data)');
      }
      const { raw } = await context.node.chain.getBlock(block.hash, context.signal);
      const level = verbosityParam(verbosity, 1);
      return level <= 0 ? toHex(raw) : await blockJson(block, raw, level, context);
    },
  },
  getchaintips: {
    names: [],
    run: async (_, context) => {
      const tip = await tipOf(context);
      return [{ height: tip.height, hash: hashToDisplay(tip.hash), branchlen: 0, status: 'active' }];
    },
  },
  getdifficulty: {
    names: [],
    run: async (_, context) => difficultyFromBits(parseHeader((await tipOf(context)).header).bits),
  },
  getdeploymentinfo: {
    names: ['blockhash'],
    run: async (_, context) => {
      const tip = await tipOf(context);
      const buried = (height: number): Json => ({
        type: 'buried',
        active: true,
        height,
        min_activation_height: undefined,
      });
      const deployments = { bip34: buried(1), bip66: buried(1), bip65: buried(1), csv: buried(1), segwit: buried(0) };
      return { hash: hashToDisplay(tip.hash), height: tip.height, deployments };
    },
  },
  getindexinfo: {
    names: ['index_name'],
    run: async (_, context) => {
      if (!context.settings.txindex) return {};
      return { txindex: { synced: true, best_block_height: (await tipOf(context)).height } };
    },
  },
  getrawtransaction: { names: ['txid', 'verbosity', 'blockhash'], run: rawTransaction },
  gettxout: { names: ['txid', 'n', 'include_mempool'], run: unspent },
  waitfornewblock: {
    names: ['timeout', 'current_tip'],
    run: async ([timeout, current], context) => {
      const before = current === undefined || current === null ? await tipOf(context) : undefined;
      const known = before?.hash ?? hashParam(current, 'current_tip');
      if (equalBytes((await tipOf(context)).hash, known)) {
        await context.awaitChange('tip', numberParam(timeout, 'timeout', 0));
      }
      const tip = await tipOf(context);
      return { hash: hashToDisplay(tip.hash), height: tip.height };
    },
  },
};

/** The tip, as the double's chain has it. */
export async function tipOf(context: CallContext): Promise<IndexedBlock> {
  const { tip } = await context.node.chain.getState(context.signal);
  return await context.index.find(tip.hash, context.signal);
}

async function findBlock(hash: Uint8Array, context: CallContext): Promise<IndexedBlock> {
  return await context.index.find(hash, context.signal).catch(() => {
    throw new RpcError(RPC_CODE.invalidAddressOrKey, 'Block not found');
  });
}

async function chainSummary(context: CallContext): Promise<Json> {
  const tip = await tipOf(context);
  const header = parseHeader(tip.header);
  const { initialBlockDownload, prunedBelow } = context.settings;
  return {
    chain: 'regtest',
    blocks: tip.height,
    headers: tip.height + (initialBlockDownload ? 1_000 : 0),
    bestblockhash: hashToDisplay(tip.hash),
    bits: bitsText(header.bits),
    target: toHex(uint256ToBytes(targetFromBits(header.bits))),
    difficulty: difficultyFromBits(header.bits),
    time: header.timeUnixS,
    mediantime: tip.medianTimeUnixS,
    verificationprogress: initialBlockDownload ? 0.25 : 1,
    initialblockdownload: initialBlockDownload,
    chainwork: toHex(uint256ToBytes(tip.work)),
    size_on_disk: 300 * (tip.height + 1),
    pruned: prunedBelow > 0,
    pruneheight: prunedBelow > 0 ? prunedBelow : undefined,
    automatic_pruning: prunedBelow > 0 ? false : undefined,
    warnings: [],
  };
}

/** `nBits` as Core prints it. */
export function bitsText(bits: number): string {
  return bits.toString(16).padStart(8, '0');
}

async function onActiveChain(block: IndexedBlock, context: CallContext): Promise<boolean> {
  const hash = await context.node.chain.getHash(block.height, context.signal).catch(() => undefined);
  return hash !== undefined && equalBytes(hash, block.hash);
}

async function headerJson(block: IndexedBlock, context: CallContext): Promise<{ [key: string]: Json | undefined }> {
  const tip = await tipOf(context);
  const active = await onActiveChain(block, context);
  const header = parseHeader(block.header);
  const next = active
    ? await context.node.chain.getHash(block.height + 1, context.signal).catch(() => undefined)
    : undefined;
  const body = await context.node.chain.getBlock(block.hash, context.signal);
  return {
    hash: hashToDisplay(block.hash),
    confirmations: active ? tip.height - block.height + 1 : -1,
    height: block.height,
    version: header.version,
    versionHex: (header.version >>> 0).toString(16).padStart(8, '0'),
    merkleroot: hashToDisplay(header.merkleRoot),
    time: header.timeUnixS,
    mediantime: block.medianTimeUnixS,
    nonce: header.nonce,
    bits: bitsText(header.bits),
    target: toHex(uint256ToBytes(targetFromBits(header.bits))),
    difficulty: difficultyFromBits(header.bits),
    chainwork: toHex(uint256ToBytes(block.work)),
    nTx: measureBlock(body.raw).txCount,
    previousblockhash: block.parent === undefined ? undefined : hashToDisplay(block.parent.hash),
    nextblockhash: next === undefined ? undefined : hashToDisplay(next),
  };
}

async function blockJson(block: IndexedBlock, raw: Uint8Array, level: number, context: CallContext): Promise<Json> {
  const items = [...iterateBlockTransactions(raw)];
  const stripped = items.reduce(
    (sum, { transaction, raw: own }) =>
      sum - own.byteLength + serializeTransaction(transaction, { witness: false }).byteLength,
    raw.byteLength,
  );
  return {
    ...(await headerJson(block, context)),
    strippedsize: stripped,
    size: raw.byteLength,
    weight: measureBlock(raw).weight,
    tx: items.map((item) => (level >= 2 ? transactionJson(item.raw) : hashToDisplay(txid(item.transaction)))),
  };
}

async function rawTransaction(params: readonly unknown[], context: CallContext): Promise<Json> {
  const [idParam, verbosity, blockParam] = params;
  const id = hashParam(idParam, 'parameter 1');
  const genesis = await context.node.chain.getHash(0, context.signal);
  const named = blockParam === undefined || blockParam === null ? undefined : hashParam(blockParam, 'parameter 3');
  const genesisHeader = parseHeader((await context.node.chain.getHeader(genesis, context.signal)).header);
  if (equalBytes(id, genesisHeader.merkleRoot)) {
    const words = 'The genesis block coinbase is not considered an ordinary transaction and cannot be retrieved';
    throw new RpcError(RPC_CODE.invalidAddressOrKey, words);
  }
  const found = named === undefined ? await findAnywhere(id, context) : await findIn(id, named, context);
  if (verbosityParam(verbosity, 0) <= 0) return toHex(found.raw);
  const place = found.block;
  if (place === undefined) return transactionJson(found.raw);
  const tip = await tipOf(context);
  const active = await onActiveChain(place, context);
  const time = parseHeader(place.header).timeUnixS;
  return {
    in_active_chain: named === undefined ? undefined : active,
    ...transactionJson(found.raw),
    blockhash: hashToDisplay(place.hash),
    confirmations: active ? tip.height - place.height + 1 : 0,
    time,
    blocktime: time,
  };
}

interface Found {
  raw: Uint8Array;
  block: IndexedBlock | undefined;
}

async function findAnywhere(id: Uint8Array, context: CallContext): Promise<Found> {
  const { node, settings, signal } = context;
  const pooled = await node.mempool?.getRaw(id, signal);
  if (pooled !== undefined) return { raw: pooled, block: undefined };
  if (!settings.txindex) {
    const words =
      'No such mempool transaction. Use -txindex or provide a block hash to enable blockchain transaction queries.';
    throw new RpcError(RPC_CODE.invalidAddressOrKey, `${words} ${WALLET_HINT}`);
  }
  const indexed = await node.chain.getTransaction(id, undefined, signal).catch(() => undefined);
  if (indexed?.block === undefined) {
    throw new RpcError(RPC_CODE.invalidAddressOrKey, `No such mempool or blockchain transaction. ${WALLET_HINT}`);
  }
  return { raw: indexed.raw, block: await context.index.find(indexed.block.hash, signal) };
}

async function findIn(id: Uint8Array, hash: Uint8Array, context: CallContext): Promise<Found> {
  const block = await context.index.find(hash, context.signal).catch(() => {
    throw new RpcError(RPC_CODE.invalidAddressOrKey, 'Block hash not found');
  });
  if (block.height < context.settings.prunedBelow) throw new RpcError(RPC_CODE.misc, 'Block not available');
  const { raw } = await context.node.chain.getBlock(hash, context.signal);
  for (const item of iterateBlockTransactions(raw)) {
    if (equalBytes(txid(item.transaction), id)) return { raw: item.raw, block };
  }
  throw new RpcError(RPC_CODE.invalidAddressOrKey, `No such transaction found in the provided block. ${WALLET_HINT}`);
}

async function unspent([id, n, withMempool]: readonly unknown[], context: CallContext): Promise<Json> {
  const outpoint = { txid: hashParam(id, 'txid'), index: numberParam(n, 'n') };
  const found = await context.node.utxo?.getUtxo(outpoint, withMempool !== false, context.signal);
  if (found === undefined) return null;
  const tip = await tipOf(context);
  return {
    bestblock: hashToDisplay(tip.hash),
    confirmations: found.height === undefined ? 0 : tip.height - found.height + 1,
    value: btc(found.valueSats),
    scriptPubKey: scriptJson(found.scriptPubkey),
    coinbase: found.coinbase,
  };
}
