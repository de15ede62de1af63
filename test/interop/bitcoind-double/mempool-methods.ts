import {
  MAX_MONEY_SATS,
  parseTransaction,
  type Transaction,
  txid,
  vsize,
  weight,
  wtxid,
} from '../../../src/core/bitcoin/transaction.js';
import { hashToDisplay, toHex } from '../../../src/core/bytes.js';
import type { MempoolApi, MempoolEntry, MempoolVerdict } from '../../../src/node/node-api.js';
import {
  amountParam,
  type CallContext,
  hashParam,
  hexParam,
  type Method,
  numberParam,
  RPC_CODE,
  RpcError,
} from './call.js';
import { tipOf } from './chain-methods.js';
import { btc, type Json } from './json.js';

/** Core's default of `maxfeerate`, satoshis per 1,000 virtual bytes. */
const DEFAULT_MAX_FEE_RATE = 10_000_000n;
/** Core refuses bounds from here on, satoshis per 1,000 virtual bytes: one bitcoin. */
const REFUSED_MAX_FEE_RATE = 100_000_000n;
const MOST_PACKAGE_TRANSACTIONS = 25;
const MOST_CONFIRMATION_TARGET = 1_008;
/** The chain under the double judges without bounds; those of the call are checked here, in Core's way. */
const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: MAX_MONEY_SATS };

const FEE_TOO_HIGH = 'Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)';
const BURN_TOO_HIGH = 'Unspendable output exceeds maximum configured by user (maxburnamount)';
const DECODE_HINT = 'Make sure the tx has at least one input.';

/** Methods about the mempool, and those that submit to it. */
export const mempoolMethods: Readonly<Record<string, Method>> = {
  getmempoolinfo: {
    names: [],
    run: async (_, context) => {
      const size = await mempoolOf(context).getSize(context.signal);
      const minimum = btc(size.minFeeRateSatPerKvb);
      return {
        loaded: true,
        size: size.transactionCount,
        bytes: size.vbytes,
        usage: size.memoryBytes,
        total_fee: btc(size.totalFeeSats ?? 0n),
        maxmempool: 300_000_000,
        mempoolminfee: minimum,
        minrelaytxfee: minimum,
        incrementalrelayfee: minimum,
        unbroadcastcount: 0,
        fullrbf: true,
      };
    },
  },
  getrawmempool: {
    names: ['verbose', 'mempool_sequence'],
    run: async ([verbose, withSequence], context) => {
      const pool = mempoolOf(context);
      // In one turn with the listing, as Core reads both under one lock.
      const listing = pool.listTxids(context.signal);
      const sequence = context.mempoolSequence();
      const ids = await listing;
      if (verbose === true) {
        if (withSequence === true) {
          throw new RpcError(RPC_CODE.invalidParameter, 'Verbose results cannot contain mempool sequence values.');
        }
        const entries: [string, Json][] = [];
        for (const id of ids) {
          const entry = await pool.getEntry(id, context.signal);
          if (entry !== undefined) entries.push([hashToDisplay(id), await entryJson(entry, context)]);
        }
        return Object.fromEntries(entries);
      }
      const txids = ids.map(hashToDisplay);
      return withSequence === true ? { txids, mempool_sequence: sequence } : txids;
    },
  },
  getmempoolentry: {
    names: ['txid'],
    run: async ([id], context) => {
      const entry = await mempoolOf(context).getEntry(hashParam(id, 'txid'), context.signal);
      if (entry === undefined) throw new RpcError(RPC_CODE.invalidAddressOrKey, 'Transaction not in mempool');
      return await entryJson(entry, context);
    },
  },
  sendrawtransaction: { names: ['hexstring', 'maxfeerate', 'maxburnamount'], run: send },
  testmempoolaccept: { names: ['rawtxs', 'maxfeerate'], run: testAccept },
  submitpackage: { names: ['package', 'maxfeerate', 'maxburnamount'], run: submitPackage },
  estimatesmartfee: {
    names: ['conf_target', 'estimate_mode'],
    run: async ([target]) => {
      const blocks = numberParam(target, 'conf_target');
      if (blocks < 1 || blocks > MOST_CONFIRMATION_TARGET) {
        const words = `Invalid conf_target, must be between 1 and ${MOST_CONFIRMATION_TARGET}`;
        throw new RpcError(RPC_CODE.invalidParameter, words);
      }
      // Regtest has no fee history, so Core never has an estimate there; the least target it answers for is 2.
      return { errors: ['Insufficient data or no feerate found'], blocks: Math.max(blocks, 2) };
    },
  },
};

function mempoolOf(context: CallContext): MempoolApi {
  if (context.node.mempool === undefined) throw new Error('the double needs a chain with a mempool');
  return context.node.mempool;
}

async function entryJson(entry: MempoolEntry, context: CallContext): Promise<Json> {
  const raw = await mempoolOf(context).getRaw(entry.txid, context.signal);
  const transaction = raw === undefined ? undefined : parseTransaction(raw);
  const fee = btc(entry.feeSats);
  return {
    vsize: entry.vsize,
    weight: transaction === undefined ? entry.vsize * 4 : weight(transaction),
    time: entry.timeUnixS,
    height: (await tipOf(context)).height,
    descendantcount: entry.descendantCount,
    descendantsize: entry.vsize,
    ancestorcount: entry.ancestorCount,
    ancestorsize: entry.vsize,
    wtxid: hashToDisplay(transaction === undefined ? entry.txid : wtxid(transaction)),
    fees: { base: fee, modified: fee, ancestor: fee, descendant: fee },
    depends: [],
    spentby: [],
    'bip125-replaceable': true,
    unbroadcast: false,
  };
}

function decode(value: unknown, failure: (hex: string) => string): { raw: Uint8Array; transaction: Transaction } {
  const raw = hexParam(value, 'hexstring');
  try {
    if (raw !== undefined) return { raw, transaction: parseTransaction(raw) };
  } catch {
    // Falls through to Core's own words.
  }
  throw new RpcError(RPC_CODE.deserialization, failure(String(value)));
}

function feeRateBound(value: unknown): bigint {
  const bound = amountParam(value, DEFAULT_MAX_FEE_RATE);
  if (bound >= REFUSED_MAX_FEE_RATE) {
    throw new RpcError(RPC_CODE.invalidParameter, 'Fee rates larger than or equal to 1BTC/kvB are not accepted');
  }
  return bound;
}

function burnsMoreThan(transaction: Transaction, bound: bigint): boolean {
  return transaction.outputs.some(({ scriptPubkey, valueSats }) => scriptPubkey[0] === 0x6a && valueSats > bound);
}

function paysMoreThan(verdict: MempoolVerdict, bound: bigint): boolean {
  return bound > 0n && verdict.feeSats * 1_000n > bound * BigInt(verdict.vsize);
}

async function judge(raw: Uint8Array, context: CallContext): Promise<MempoolVerdict> {
  const [verdict] = await mempoolOf(context).test([raw], NO_BOUNDS, context.signal);
  if (verdict === undefined) throw new Error('the chain under the double gave no verdict');
  return verdict;
}

async function inUtxoSet(transaction: Transaction, context: CallContext): Promise<boolean> {
  const id = txid(transaction);
  for (let index = 0; index < transaction.outputs.length; index++) {
    const found = await context.node.utxo?.getUtxo({ txid: id, index }, false, context.signal);
    if (found !== undefined) return true;
  }
  return false;
}

async function send([hex, maxFeeRate, maxBurn]: readonly unknown[], context: CallContext): Promise<Json> {
  const { raw, transaction } = decode(hex, () => `TX decode failed. ${DECODE_HINT}`);
  if (burnsMoreThan(transaction, amountParam(maxBurn, 0n))) throw new RpcError(RPC_CODE.verify, BURN_TOO_HIGH);
  const bound = feeRateBound(maxFeeRate);
  const id = txid(transaction);
  if ((await mempoolOf(context).getEntry(id, context.signal)) !== undefined) return hashToDisplay(id);
  if (await inUtxoSet(transaction, context)) {
    throw new RpcError(RPC_CODE.alreadyInUtxoSet, 'Transaction outputs already in utxo set');
  }
  const verdict = await judge(raw, context);
  if (!verdict.accepted) {
    if (isMissingInputs(verdict)) throw new RpcError(RPC_CODE.verify, 'bad-txns-inputs-missingorspent');
    throw new RpcError(RPC_CODE.verifyRejected, verdict.rejectReason);
  }
  if (paysMoreThan(verdict, bound)) throw new RpcError(RPC_CODE.verify, FEE_TOO_HIGH);
  await mempoolOf(context).submit(raw, NO_BOUNDS, context.signal);
  return hashToDisplay(id);
}

function isMissingInputs(verdict: MempoolVerdict): boolean {
  return (
    verdict.rejectReason.startsWith('missing-inputs') || verdict.rejectReason.startsWith('bad-txns-inputs-missing')
  );
}

function listParam(value: unknown): readonly unknown[] {
  if (Array.isArray(value) && value.length >= 1 && value.length <= MOST_PACKAGE_TRANSACTIONS) return value;
  const words = `Array must contain between 1 and ${MOST_PACKAGE_TRANSACTIONS} transactions.`;
  throw new RpcError(RPC_CODE.invalidParameter, words);
}

async function testAccept([list, maxFeeRate]: readonly unknown[], context: CallContext): Promise<Json> {
  const decoded = listParam(list).map((hex) => decode(hex, (text) => `TX decode failed: ${text} ${DECODE_HINT}`));
  const bound = feeRateBound(maxFeeRate);
  const raws = decoded.map(({ raw }) => raw);
  const verdicts = await mempoolOf(context).test(raws, NO_BOUNDS, context.signal);
  const answers: Json[] = [];
  for (const [i, { transaction }] of decoded.entries()) {
    const verdict = verdicts[i];
    if (verdict === undefined) throw new Error('the chain under the double gave too few verdicts');
    const ids = { txid: hashToDisplay(txid(transaction)), wtxid: hashToDisplay(wtxid(transaction)) };
    const refuse = (reason: string): void => {
      answers.push({ ...ids, allowed: false, 'reject-reason': reason, 'reject-details': reason });
    };
    if (verdict.alreadyKnown) refuse('txn-already-in-mempool');
    else if (!verdict.accepted && (await inUtxoSet(transaction, context))) refuse('txn-already-known');
    else if (!verdict.accepted) refuse(isMissingInputs(verdict) ? 'missing-inputs' : verdict.rejectReason);
    else if (paysMoreThan(verdict, bound)) refuse('max-fee-exceeded');
    else answers.push({ ...ids, allowed: true, vsize: vsize(transaction), fees: feesJson(verdict, ids.wtxid) });
  }
  return answers;
}

function feesJson(verdict: MempoolVerdict, id: string): Json {
  const rate = (verdict.feeSats * 1_000n) / BigInt(Math.max(verdict.vsize, 1));
  return { base: btc(verdict.feeSats), 'effective-feerate': btc(rate), 'effective-includes': [id] };
}

async function submitPackage([list, maxFeeRate, maxBurn]: readonly unknown[], context: CallContext): Promise<Json> {
  const decoded = listParam(list).map((hex) => decode(hex, (text) => `TX decode failed: ${text} ${DECODE_HINT}`));
  const burn = amountParam(maxBurn, 0n);
  if (decoded.some(({ transaction }) => burnsMoreThan(transaction, burn))) {
    throw new RpcError(RPC_CODE.verify, BURN_TOO_HIGH);
  }
  if (decoded.length > 1 && !isChildWithParents(decoded.map(({ transaction }) => transaction))) {
    const words = 'package topology disallowed. not child-with-parents or parents depend on each other.';
    throw new RpcError(RPC_CODE.verify, words);
  }
  const bounds = { maxFeeRateSatPerKvb: feeRateBound(maxFeeRate), maxBurnSats: burn };
  const raws = decoded.map(({ raw }) => raw);
  const verdicts = await mempoolOf(context).submitPackage(raws, bounds, context.signal);
  const results = decoded.map(({ transaction }, i): [string, Json] => {
    const verdict = verdicts[i];
    const id = hashToDisplay(wtxid(transaction));
    const own = { txid: hashToDisplay(txid(transaction)) };
    if (verdict === undefined || !verdict.accepted) {
      return [id, { ...own, error: verdict?.rejectReason ?? 'package-not-validated' }];
    }
    return [id, { ...own, vsize: vsize(transaction), fees: feesJson(verdict, id) }];
  });
  return {
    package_msg: verdicts.every((verdict) => verdict.accepted) ? 'success' : 'transaction failed',
    'tx-results': Object.fromEntries(results),
    'replaced-transactions': [],
  };
}

/** Whether the last one spends every other, and no other spends another: all that Core's package relay takes. */
function isChildWithParents(transactions: readonly Transaction[]): boolean {
  const spends = (transaction: Transaction): Set<string> =>
    new Set(transaction.inputs.map(({ outpoint }) => toHex(outpoint.txid)));
  const parents = transactions.slice(0, -1).map((transaction) => toHex(txid(transaction)));
  const child = transactions.at(-1);
  if (child === undefined) return false;
  const needed = spends(child);
  const apart = transactions.slice(0, -1).every((parent) => !parents.some((id) => spends(parent).has(id)));
  return apart && parents.every((id) => needed.has(id));
}
