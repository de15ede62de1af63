import type { NodeEvent } from '../node-api.js';

/** The fee rate that is watched, at one moment. */
export interface WatchedFeeRate {
  satPerKvb: bigint;
  /** Blocks that the estimate is for; undefined for the mempool's minimum, which stands in where there is no estimate. */
  targetBlocks: number | undefined;
}

/**
 * Makes a watch that tells changes of the fee rate. Only rates of one kind are compared: the step from an estimate to the
 * minimum, or from one target to another, is no change of any rate.
 */
export function createFeeWatch(
  emit: (event: NodeEvent) => void,
  mempoolCount: () => number,
): (now: WatchedFeeRate) => void {
  let before: WatchedFeeRate | undefined;
  return (now) => {
    const last = before;
    before = now;
    if (last === undefined || last.targetBlocks !== now.targetBlocks || last.satPerKvb === now.satPerKvb) return;
    emit({
      type: 'FeeRateChanged',
      oldSatPerKvb: last.satPerKvb,
      newSatPerKvb: now.satPerKvb,
      mempoolCount: mempoolCount(),
      ...(now.targetBlocks === undefined ? {} : { targetBlocks: now.targetBlocks }),
    });
  };
}
