import type { MempoolServiceService, SubmitTransactionRequest } from '../../gen/ts/modhost/v1/mempool.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import { outlineTransaction, outlineTxid, outlineWtxid } from '../core/bitcoin/outline.js';
import { MAX_MONEY_SATS } from '../core/bitcoin/transaction.js';
import { toHex } from '../core/bytes.js';
import { printable } from '../core/printable.js';
import type { MempoolVerdict, NodeApi, SubmitOptions } from '../node/node-api.js';
import { atTip } from './at-tip.js';
import { pageSize, requireFeature, requireHash, requireList, requireRange } from './check.js';
import { fromNode, toBody, transactionFormat, transactionFromModule } from './decoded.js';
import { pageOfHashes, readPageToken } from './hash-page.js';

/** Ids of one page: 320 KiB. */
export const MAX_TXIDS_PER_PAGE = 10_000;
const DEFAULT_TXIDS_PER_PAGE = 1_000;

/** Transactions of one package, as nodes bound it (BIP 331; Bitcoin Core, MAX_PACKAGE_COUNT). */
export const MAX_PACKAGE_COUNT = 25;

/** Farthest target that fee estimators know, blocks: a week. */
const MAX_TARGET_BLOCKS = 1_008;

/** Bound of a caller that gives none, satoshis per 1,000 virtual bytes: Bitcoin Core's own, 0.1 BTC. */
const DEFAULT_MAX_FEE_RATE = 10_000_000n;
/** Nodes refuse to hear of a bound of 1 BTC per 1,000 virtual bytes or more. */
const HIGHEST_MAX_FEE_RATE = 99_999_999n;

/** Answers reads of and submissions to the mempool. @param deps.node the port, budgeted for one module */
export function createMempoolService({ node }: { node: NodeApi }): ServiceImpl<typeof MempoolServiceService> {
  const mempool = () => requireFeature(node.mempool, 'mempool');
  return {
    async listTransactions({ pageSize: wish, pageToken, atTip: tip }, { signal }) {
      const size = pageSize(wish, DEFAULT_TXIDS_PER_PAGE, MAX_TXIDS_PER_PAGE);
      const after = readPageToken(pageToken);
      const pool = mempool();
      const txids = await atTip(node, tip, signal, () => pool.listTxids(signal));
      const { hashes, nextPageToken, totalCount } = pageOfHashes(txids, after, size);
      return { txids: hashes, nextPageToken, totalCount };
    },
    async getTransaction({ txid: id, format, atTip: tip }, { signal }) {
      const wanted = requireHash(id, 'txid');
      const form = transactionFormat(format);
      const pool = mempool();
      const [raw, entry] = await atTip(node, tip, signal, () =>
        Promise.all([pool.getRaw(wanted, signal), pool.getEntry(wanted, signal)]),
      );
      if (raw === undefined || entry === undefined) {
        throw new HostError('TRANSACTION_NOT_FOUND', 'the mempool does not have the transaction');
      }
      return {
        body: toBody(raw, form).body,
        wtxid: entry.wtxid ?? fromNode('transaction', () => outlineWtxid(outlineTransaction(raw))),
        vsize: entry.vsize,
        feeSats: entry.feeSats,
        timeUnixS: entry.timeUnixS,
        ancestorCount: entry.ancestorCount,
        descendantCount: entry.descendantCount,
      };
    },
    async getSize({ atTip: tip }, { signal }) {
      const pool = mempool();
      const size = await atTip(node, tip, signal, () => pool.getSize(signal));
      return { ...size, totalFeeKnown: size.totalFeeSats !== undefined, totalFeeSats: size.totalFeeSats ?? 0n };
    },
    async checkTransaction({ txid: id, atTip: tip }, { signal }) {
      const wanted = requireHash(id, 'txid');
      const pool = mempool();
      const entry = await atTip(node, tip, signal, () => pool.getEntry(wanted, signal));
      return { present: entry !== undefined };
    },
    async getFeeEstimate({ targetBlocks }, { signal }) {
      requireRange(targetBlocks, 1, MAX_TARGET_BLOCKS, 'target_blocks');
      const estimate = await mempool().estimateFee(targetBlocks, signal);
      const rate = estimate.feeRateSatPerKvb;
      return { known: rate !== undefined, feeRateSatPerKvb: rate ?? 0n, targetBlocks: estimate.targetBlocks };
    },
    async submitTransaction(request, { signal }) {
      const options = submitOptions(request);
      transactionFromModule(request.raw, 'raw');
      const verdict = await mempool().submit(request.raw, options, signal);
      if (!verdict.accepted) {
        throw new HostError('TRANSACTION_REJECTED', `the mempool refused it: ${printable(verdict.rejectReason)}`);
      }
      return { txid: verdict.txid, wtxid: verdict.wtxid, alreadyKnown: verdict.alreadyKnown };
    },
    async submitPackage(request, { signal }) {
      const options = submitOptions(request);
      const raws = requirePackage(request.raws);
      return { verdicts: onePerItem(await mempool().submitPackage(raws, options, signal), raws) };
    },
    async testTransaction(request, { signal }) {
      const options = submitOptions(request);
      const raws = requirePackage(request.raws);
      return { verdicts: onePerItem(await mempool().test(raws, options, signal), raws) };
    },
  };
}

function submitOptions(request: Pick<SubmitTransactionRequest, 'maxFeeRateSatPerKvb' | 'maxBurnSats'>): SubmitOptions {
  const { maxFeeRateSatPerKvb, maxBurnSats } = request;
  requireRange(maxFeeRateSatPerKvb, 0n, HIGHEST_MAX_FEE_RATE, 'max_fee_rate_sat_per_kvb');
  requireRange(maxBurnSats, 0n, MAX_MONEY_SATS, 'max_burn_sats');
  return { maxFeeRateSatPerKvb: maxFeeRateSatPerKvb || DEFAULT_MAX_FEE_RATE, maxBurnSats };
}

function requirePackage(raws: readonly Uint8Array[]): readonly Uint8Array[] {
  requireList(raws, MAX_PACKAGE_COUNT, 'raws');
  const ids = new Set(raws.map((raw, index) => toHex(outlineTxid(transactionFromModule(raw, `raws[${index}]`)))));
  if (ids.size !== raws.length) throw new HostError('INVALID_REQUEST', 'raws holds a transaction twice');
  return raws;
}

function onePerItem(verdicts: MempoolVerdict[], raws: readonly Uint8Array[]): MempoolVerdict[] {
  if (verdicts.length !== raws.length) {
    throw new HostError('NODE_ERROR', `the node gave ${verdicts.length} verdicts on ${raws.length} transactions`);
  }
  return verdicts;
}
