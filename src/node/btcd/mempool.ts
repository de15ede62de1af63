import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { asBuffer, hashToDisplay } from '../../core/bytes.js';
import type { Clock } from '../../core/clock.js';
import { satsToBitcoin } from '../jsonrpc/amounts.js';
import { acceptTest, bitcoinAmount, count, feeRate, hexText } from '../jsonrpc/answers.js';
import { mempoolSummary, mempoolTxids } from '../jsonrpc/mempool-answers.js';
import { type RpcClient, resultOf } from '../jsonrpc/rpc-client.js';
import { hostErrorOf, RPC } from '../jsonrpc/rpc-failure.js';
import {
  accepted,
  assertBurn,
  burnedSats,
  explainSubmission,
  meansKnown,
  refused,
  type Submission,
  submissionOf,
} from '../jsonrpc/submissions.js';
import type { MempoolApi, MempoolVerdict, SubmitOptions } from '../node-api.js';

/** Highest target that `estimatefee` takes. btcd, mempool/estimatefee.go estimateFeeDepth */
const MAX_ESTIMATE_TARGET = 25;

/** btcd takes 0 for its own default bound; this many bitcoin per kvB bounds nothing. */
const NO_FEE_BOUND = 21_000_000;

/** btcd lists all entries or none; above this many the list (300 bytes each) is not worth its figures. */
const MAX_LISTED_ENTRIES = 20_000;

/** How long one such list serves: a module that walks the mempool must not list it once for each transaction. */
const LIST_LIFETIME_MS = 1_000;

const entryList = z.record(
  z.string(),
  z.object({ vsize: count, fee: bitcoinAmount, time: count, depends: z.array(z.string()) }),
);

type EntryList = z.infer<typeof entryList>;

const relayFee = z.object({ relayfee: feeRate });

const mempoolTransaction = z.object({
  hex: hexText,
  confirmations: count.optional(),
  blockhash: z.string().optional(),
});

/** Mempool of btcd. */
export function createBtcdMempool(rpc: RpcClient, clock: Pick<Clock, 'monotonicMs'>): MempoolApi {
  let cached: { at: number; list: Promise<EntryList> } | undefined;
  const listEntries = (signal: AbortSignal): Promise<EntryList> => {
    const now = clock.monotonicMs();
    if (cached !== undefined && now - cached.at < LIST_LIFETIME_MS) return cached.list;
    const list = rpc.call('getrawmempool', [true], entryList, { signal });
    const entry = { at: now, list };
    cached = entry;
    list.catch(() => {
      if (cached === entry) cached = undefined;
    });
    return list;
  };

  const test = async (
    submissions: readonly Submission[],
    options: SubmitOptions,
    signal: AbortSignal,
  ): Promise<MempoolVerdict[]> => {
    const params = [submissions.map((submission) => submission.hex), feeRateBound(options)];
    const results = await rpc.call('testmempoolaccept', params, z.array(acceptTest), { signal });
    return submissions.map((submission): MempoolVerdict => {
      const result = results.find((item) => asBuffer(item.txid).equals(submission.txid));
      const reason = result?.['reject-reason'] ?? 'not-validated';
      if (result?.allowed !== true) {
        return meansKnown(reason) ? accepted(submission, { alreadyKnown: true }) : refused(submission, reason);
      }
      if (burnedSats(submission.transaction) > options.maxBurnSats) return refused(submission, 'max-burn-exceeded');
      return accepted(submission, { alreadyKnown: false, vsize: result.vsize, feeSats: result.fees?.base });
    });
  };

  return {
    async listTxids(signal) {
      const txids = await rpc.call('getrawmempool', [false], mempoolTxids, { signal, plainNumbers: true });
      return txids.sort((a, b) => asBuffer(a).compare(b));
    },

    async getEntry(txid, signal) {
      const list = await listEntries(signal);
      const id = hashToDisplay(txid);
      const entry = list[id];
      if (entry === undefined) return undefined;
      return {
        txid,
        vsize: entry.vsize,
        feeSats: entry.fee,
        timeUnixS: entry.time,
        ancestorCount: ancestors(list, id).size,
        descendantCount: descendants(list, id).size,
      };
    },

    async getRaw(txid, signal) {
      const params = [hashToDisplay(txid), 1];
      const [outcome] = await rpc.batch([{ method: 'getrawtransaction', params }], { signal });
      if (outcome !== undefined && 'failure' in outcome && outcome.failure.code === RPC.NOT_FOUND) return undefined;
      const found = resultOf('getrawtransaction', outcome, mempoolTransaction);
      // With the index on, btcd answers for confirmed transactions as well.
      return (found.blockhash ?? '') === '' ? found.hex : undefined;
    },

    async getSize(signal) {
      const calls = [
        { method: 'getmempoolinfo', params: [] },
        { method: 'getinfo', params: [] },
      ];
      const [size, about] = await rpc.batch(calls, { signal });
      const summary = resultOf('getmempoolinfo', size, mempoolSummary);
      const known = {
        transactionCount: summary.size,
        memoryBytes: 0n,
        minFeeRateSatPerKvb: resultOf('getinfo', about, relayFee).relayfee,
      };
      // btcd's own figure counts witness bytes in full, an upper bound of the virtual size.
      if (summary.size > MAX_LISTED_ENTRIES) return { ...known, vbytes: summary.bytes };
      const entries = Object.values(await listEntries(signal));
      return {
        ...known,
        transactionCount: entries.length,
        vbytes: BigInt(entries.reduce((sum, entry) => sum + entry.vsize, 0)),
        totalFeeSats: entries.reduce((sum, entry) => sum + entry.fee, 0n),
      };
    },

    async estimateFee(targetBlocks, signal) {
      const target = Math.min(MAX_ESTIMATE_TARGET, Math.max(1, targetBlocks));
      const [outcome] = await rpc.batch([{ method: 'estimatefee', params: [target] }], { signal });
      if (outcome === undefined || 'failure' in outcome) {
        // "Not enough blocks have been observed" reaches the caller as a malformed request.
        if (outcome?.failure.code === -32600) return { targetBlocks: target };
        throw hostErrorOf(outcome?.failure ?? { code: -32603, message: 'no answer' });
      }
      const rate = resultOf('estimatefee', outcome, feeRate);
      return { feeRateSatPerKvb: rate > 0n ? rate : undefined, targetBlocks: target };
    },

    async submit(raw, options, signal) {
      const submission = submissionOf(raw);
      assertBurn(submission, options.maxBurnSats);
      cached = undefined;
      // btcd's sendrawtransaction knows no bound: the test that does comes first, and tells size and fee.
      const [verdict] = await test([submission], options, signal);
      if (verdict?.rejectReason.startsWith('max-fee-exceeded')) {
        throw new HostError('FEE_TOO_HIGH', 'the transaction pays more than the bound allows');
      }
      const params = [submission.hex];
      const [sent] = await rpc.batch([{ method: 'sendrawtransaction', params }], { signal });
      if (sent !== undefined && 'failure' in sent) {
        const meaning = explainSubmission(sent.failure) ?? hostErrorOf(sent.failure);
        if (meaning !== 'known') throw meaning;
        return accepted(submission, { alreadyKnown: true });
      }
      return accepted(submission, { alreadyKnown: false, vsize: verdict?.vsize, feeSats: verdict?.feeSats });
    },

    async submitPackage() {
      throw new HostError('NODE_LACKS_FEATURE', 'btcd takes transactions one by one');
    },

    test: async (raws, options, signal) => await test(raws.map(submissionOf), options, signal),
  };
}

/** A bound, not an amount: btcd reads it as a double. */
function feeRateBound(options: SubmitOptions): number {
  return options.maxFeeRateSatPerKvb === 0n ? NO_FEE_BOUND : Number(satsToBitcoin(options.maxFeeRateSatPerKvb));
}

/** The transaction and all unconfirmed ones that it spends from, directly or not. */
function ancestors(list: EntryList, id: string): Set<string> {
  const found = new Set([id]);
  for (const at of found) for (const parent of list[at]?.depends ?? []) if (parent in list) found.add(parent);
  return found;
}

/** The transaction and all that spend from it, directly or not. */
function descendants(list: EntryList, id: string): Set<string> {
  const children = new Map<string, string[]>();
  for (const [child, entry] of Object.entries(list)) {
    for (const parent of entry.depends) children.set(parent, [...(children.get(parent) ?? []), child]);
  }
  const found = new Set([id]);
  for (const at of found) for (const child of children.get(at) ?? []) found.add(child);
  return found;
}
