import { z } from 'zod';

import { bigCount, bitcoinAmount, count, feeRate, hashText } from './answers.js';

/** `getmempoolentry` of Bitcoin Core. */
export const mempoolEntry = z.object({
  vsize: count,
  wtxid: hashText.optional(),
  time: count,
  ancestorcount: count,
  descendantcount: count,
  fees: z.object({ base: bitcoinAmount }),
});

/** `getmempoolinfo`; btcd has size and bytes alone. */
export const mempoolSummary = z.object({
  size: count,
  bytes: bigCount,
  usage: bigCount.optional(),
  total_fee: bitcoinAmount.optional(),
  mempoolminfee: feeRate.optional(),
  minrelaytxfee: feeRate.optional(),
});

/** `getrawmempool`, ids alone. */
export const mempoolTxids = z.array(hashText);

/** `getrawmempool false true` of Bitcoin Core from 0.21 on. */
export const mempoolTxidsWithSequence = z.object({ txids: mempoolTxids, mempool_sequence: bigCount });
