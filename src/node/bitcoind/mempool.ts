import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { asBuffer, hashToDisplay } from '../../core/bytes.js';
import { satsToBitcoin } from '../jsonrpc/amounts.js';
import { acceptTest, bitcoinAmount, count, feeRate, hexText } from '../jsonrpc/answers.js';
import { mempoolEntry, mempoolSummary, mempoolTxids } from '../jsonrpc/mempool-answers.js';
import { type RpcCall, type RpcClient, type RpcOutcome, resultOf } from '../jsonrpc/rpc-client.js';
import { hostErrorOf, RPC, type RpcFailure } from '../jsonrpc/rpc-failure.js';
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
import type { FeeEstimate, MempoolApi, MempoolVerdict, SubmitOptions } from '../node-api.js';

/** Highest target that `estimatesmartfee` takes. */
const MAX_ESTIMATE_TARGET = 1_008;

/** Bitcoin Core refuses a maxfeerate of 1 BTC/kvB or more; a higher bound of the caller becomes the highest allowed. */
const MAX_FEE_RATE_BOUND = 99_999_999n;

/** Transactions that one package may hold. @see Bitcoin Core, policy/packages.h MAX_PACKAGE_COUNT */
const MAX_PACKAGE_TRANSACTIONS = 25;

const smartFee = z.object({ feerate: feeRate.optional(), blocks: count });

const packageAnswer = z.object({
  package_msg: z.string().optional(),
  'tx-results': z.record(
    z.string(),
    z.object({
      vsize: count.optional(),
      fees: z.object({ base: bitcoinAmount }).optional(),
      error: z.string().optional(),
    }),
  ),
});

/** Mempool of Bitcoin Core. */
export function createBitcoindMempool(rpc: RpcClient): MempoolApi {
  const entryCalls = (submissions: readonly Submission[]): RpcCall[] =>
    submissions.map((submission) => ({ method: 'getmempoolentry', params: [submission.id] }));

  return {
    async listTxids(signal) {
      const txids = await rpc.call('getrawmempool', [false], mempoolTxids, { signal, plainNumbers: true });
      return txids.sort((a, b) => asBuffer(a).compare(b));
    },

    async getEntry(txid, signal) {
      const [outcome] = await rpc.batch([{ method: 'getmempoolentry', params: [hashToDisplay(txid)] }], { signal });
      const entry = entryOf(outcome);
      if (entry === undefined) return undefined;
      return {
        txid,
        wtxid: entry.wtxid,
        vsize: entry.vsize,
        feeSats: entry.fees.base,
        timeUnixS: entry.time,
        ancestorCount: entry.ancestorcount,
        descendantCount: entry.descendantcount,
      };
    },

    async getRaw(txid, signal) {
      const id = hashToDisplay(txid);
      const calls = [
        { method: 'getmempoolentry', params: [id] },
        { method: 'getrawtransaction', params: [id, false] },
      ];
      const [entry, raw] = await rpc.batch(calls, { signal });
      if (entryOf(entry) === undefined) return undefined;
      // It may leave the mempool between the two answers.
      if (raw !== undefined && 'failure' in raw && raw.failure.code === RPC.NOT_FOUND) return undefined;
      return resultOf('getrawtransaction', raw, hexText);
    },

    async getSize(signal) {
      const summary = await rpc.call('getmempoolinfo', [], mempoolSummary, { signal });
      const { mempoolminfee = 0n, minrelaytxfee = 0n } = summary;
      return {
        transactionCount: summary.size,
        vbytes: summary.bytes,
        memoryBytes: summary.usage ?? 0n,
        totalFeeSats: summary.total_fee,
        minFeeRateSatPerKvb: mempoolminfee > minrelaytxfee ? mempoolminfee : minrelaytxfee,
      };
    },

    async estimateFee(targetBlocks, signal): Promise<FeeEstimate> {
      const target = Math.min(MAX_ESTIMATE_TARGET, Math.max(1, targetBlocks));
      const { feerate, blocks } = await rpc.call('estimatesmartfee', [target], smartFee, { signal });
      return { feeRateSatPerKvb: feerate, targetBlocks: blocks === 0 ? target : blocks };
    },

    async submit(raw, options, signal) {
      const submission = submissionOf(raw);
      assertBurn(submission, options.maxBurnSats);
      // One batch, answered in order: was it there, take it, what is it now.
      const [before, sent, after] = await rpc.batch(
        [...entryCalls([submission]), sendCall(submission, options), ...entryCalls([submission])],
        { signal },
      );
      const known = entryOf(before) !== undefined;
      if (sent !== undefined && 'failure' in sent) {
        const meaning = explainSubmission(sent.failure) ?? hostErrorOf(sent.failure);
        if (meaning !== 'known') throw meaning;
        return accepted(submission, { alreadyKnown: true });
      }
      const entry = entryOf(after);
      return accepted(submission, { alreadyKnown: known, vsize: entry?.vsize, feeSats: entry?.fees.base });
    },

    async submitPackage(raws, options, signal) {
      const submissions = raws.map(submissionOf);
      assertPackage(submissions);
      for (const submission of submissions) assertBurn(submission, options.maxBurnSats);
      const hexes = submissions.map((submission) => submission.hex);
      const outcomes = await rpc.batch(
        [...entryCalls(submissions), { method: 'submitpackage', params: [hexes, ...bounds(submissions, options)] }],
        { signal },
      );
      const answer = resultOf('submitpackage', outcomes[submissions.length], packageAnswer, explainPackage);
      return submissions.map((submission, i): MempoolVerdict => {
        const result = answer['tx-results'][hashToDisplay(submission.wtxid)];
        const known = entryOf(outcomes[i]) !== undefined;
        if (result === undefined) return refused(submission, answer.package_msg ?? 'package-not-validated');
        if (result.error !== undefined && !meansKnown(result.error)) return refused(submission, result.error);
        return accepted(submission, { alreadyKnown: known, vsize: result.vsize, feeSats: result.fees?.base });
      });
    },

    async test(raws, options, signal) {
      const submissions = raws.map(submissionOf);
      assertPackage(submissions);
      const hexes = submissions.map((submission) => submission.hex);
      const outcomes = await rpc.batch(
        [...entryCalls(submissions), { method: 'testmempoolaccept', params: [hexes, feeRateBound(options)] }],
        { signal },
      );
      const results = resultOf('testmempoolaccept', outcomes[submissions.length], z.array(acceptTest), explainPackage);
      return submissions.map((submission, i): MempoolVerdict => {
        const result = results.find((item) => asBuffer(item.txid).equals(submission.txid));
        const reason = result?.['reject-reason'] ?? result?.['package-error'] ?? 'package-not-validated';
        if (result?.allowed === true) {
          if (burnedSats(submission.transaction) > options.maxBurnSats) return refused(submission, 'max-burn-exceeded');
          return accepted(submission, { alreadyKnown: false, vsize: result.vsize, feeSats: result.fees?.base });
        }
        if (!meansKnown(reason)) return refused(submission, reason);
        const entry = entryOf(outcomes[i]);
        return accepted(submission, { alreadyKnown: true, vsize: entry?.vsize, feeSats: entry?.fees.base });
      });
    },
  };
}

function sendCall(submission: Submission, options: SubmitOptions): RpcCall {
  return { method: 'sendrawtransaction', params: [submission.hex, ...bounds([submission], options)] };
}

/**
 * Bounds as the node takes them. The burn is checked here already; it is sent only where something burns, since the
 * node's own bound is 0 and older nodes have no such argument.
 */
function bounds(submissions: readonly Submission[], options: SubmitOptions): string[] {
  const burns = submissions.some((submission) => burnedSats(submission.transaction) > 0n);
  return burns ? [feeRateBound(options), satsToBitcoin(options.maxBurnSats)] : [feeRateBound(options)];
}

/** Amounts go out as text, which the node reads as exactly as we write it. 0 = no bound, for both. */
function feeRateBound(options: SubmitOptions): string {
  const bound = options.maxFeeRateSatPerKvb;
  return satsToBitcoin(bound > MAX_FEE_RATE_BOUND ? MAX_FEE_RATE_BOUND : bound);
}

function assertPackage(submissions: readonly Submission[]): void {
  if (submissions.length === 0) throw new HostError('FIELD_REQUIRED', 'at least one transaction is needed');
  if (submissions.length > MAX_PACKAGE_TRANSACTIONS) {
    throw new HostError('OUT_OF_RANGE', `a package holds at most ${MAX_PACKAGE_TRANSACTIONS} transactions`);
  }
}

function explainPackage(failure: RpcFailure): HostError | undefined {
  const meaning = explainSubmission(failure);
  if (meaning !== undefined && meaning !== 'known') return meaning;
  if (failure.code !== RPC.INVALID_PARAMETER && failure.code !== RPC.TYPE) return undefined;
  return new HostError('INVALID_REQUEST', `the node does not take this package: ${failure.message}`);
}

/** The entry, or undefined when the mempool does not hold it. */
function entryOf(outcome: RpcOutcome | undefined): z.infer<typeof mempoolEntry> | undefined {
  if (outcome !== undefined && 'failure' in outcome && outcome.failure.code === RPC.NOT_FOUND) return undefined;
  return resultOf('getmempoolentry', outcome, mempoolEntry);
}
