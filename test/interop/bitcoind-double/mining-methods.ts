import { parseBlock } from '../../../src/core/bitcoin/block.js';
import { parseHeader } from '../../../src/core/bitcoin/header.js';
import { hashToDisplay, toHex } from '../../../src/core/bytes.js';
import type { TemplateTransaction } from '../../../src/node/block-template.js';
import type { MiningApi } from '../../../src/node/node-api.js';
import { type CallContext, hexParam, type Method, RPC_CODE, RpcError } from './call.js';
import { bitsText, tipOf } from './chain-methods.js';
import type { Json } from './json.js';

/** Longest wait of a long poll, milliseconds: Core looks at the mempool after a minute. */
const LONG_POLL_MS = 60_000;

/** Methods for miners. */
export const miningMethods: Readonly<Record<string, Method>> = {
  getblocktemplate: { names: ['template_request'], run: template },
  submitblock: { names: ['hexdata', 'dummy'], run: submit },
  getnetworkhashps: {
    names: ['nblocks', 'height'],
    run: async (_, context) => {
      const tip = await tipOf(context);
      const before = tip.parent;
      if (before === undefined) return 0;
      const seconds = parseHeader(tip.header).timeUnixS - parseHeader(before.header).timeUnixS;
      return seconds <= 0 ? 0 : Number(tip.work - before.work) / seconds;
    },
  },
  getmininginfo: {
    names: [],
    run: async (_, context) => {
      const tip = await tipOf(context);
      const pooled = (await context.node.mempool?.listTxids(context.signal))?.length ?? 0;
      return { blocks: tip.height, pooledtx: pooled, chain: 'regtest', networkhashps: 0, warnings: [] };
    },
  },
};

function miningOf(context: CallContext): MiningApi {
  if (context.node.mining === undefined) throw new Error('the double needs a chain with mining');
  return context.node.mining;
}

async function template([request]: readonly unknown[], context: CallContext): Promise<Json> {
  const wanted = (request ?? {}) as { mode?: string; rules?: unknown; longpollid?: unknown };
  if (wanted.mode !== undefined && wanted.mode !== 'template') {
    throw new RpcError(RPC_CODE.invalidParameter, 'Invalid mode');
  }
  if (!Array.isArray(wanted.rules) || !wanted.rules.includes('segwit')) {
    const words = 'getblocktemplate must be called with the segwit rule set (call with {"rules": ["segwit"]})';
    throw new RpcError(RPC_CODE.invalidParameter, words);
  }
  if (typeof wanted.longpollid === 'string' && wanted.longpollid === (await longPollId(context))) {
    await context.awaitChange('tip-or-mempool', LONG_POLL_MS);
  }
  const made = await miningOf(context).getTemplate(['segwit'], context.signal);
  return {
    capabilities: ['proposal'],
    version: made.version,
    rules: ['csv', '!segwit', 'taproot'],
    vbavailable: {},
    vbrequired: 0,
    previousblockhash: hashToDisplay(made.previousHash),
    transactions: made.transactions.map(transactionJson),
    coinbaseaux: {},
    coinbasevalue: made.coinbaseValueSats,
    longpollid: await longPollId(context),
    target: toHex(made.target),
    mintime: made.minTimeUnixS,
    mutable: ['time', 'transactions', 'prevblock'],
    noncerange: '00000000ffffffff',
    sigoplimit: made.sigopLimit,
    sizelimit: made.sizeLimit,
    weightlimit: made.weightLimit,
    curtime: made.currentTimeUnixS,
    bits: bitsText(made.bits),
    height: made.height,
    // Core commits to the witnesses even when the block has none.
    default_witness_commitment:
      made.witnessCommitmentScript.byteLength === 0 ? undefined : toHex(made.witnessCommitmentScript),
  };
}

async function longPollId(context: CallContext): Promise<string> {
  return `${hashToDisplay((await tipOf(context)).hash)}${context.mempoolSequence()}`;
}

function transactionJson(item: TemplateTransaction): Json {
  return {
    data: toHex(item.raw),
    txid: hashToDisplay(item.txid),
    hash: hashToDisplay(item.wtxid),
    // BIP 22 counts from 1.
    depends: item.depends.map((index) => index + 1),
    fee: item.feeSats,
    sigops: item.sigops,
    weight: item.weight,
  };
}

async function submit([hex]: readonly unknown[], context: CallContext): Promise<Json> {
  const raw = hexParam(hex, 'hexdata');
  try {
    if (raw === undefined) throw new Error('no hex');
    parseBlock(raw);
  } catch {
    throw new RpcError(RPC_CODE.deserialization, 'Block decode failed');
  }
  const verdict = await miningOf(context).submitBlock(raw, context.signal);
  if (verdict.outcome === 'accepted') return null;
  return verdict.outcome === 'rejected' ? verdict.reason : verdict.outcome;
}
