import { describe, expect, it } from 'vitest';
import { createFeeWatch } from '../../src/node/jsonrpc/fee-watch.js';
import type { NodeEvent } from '../../src/node/node-api.js';

describe('the watch of the fee rate', () => {
  it('compares estimates with estimates of the same target, and the minimum with the minimum', () => {
    const told: NodeEvent[] = [];
    const look = createFeeWatch(
      (event) => told.push(event),
      () => 7,
    );
    look({ satPerKvb: 1_000n, targetBlocks: undefined });
    look({ satPerKvb: 1_000n, targetBlocks: undefined });
    look({ satPerKvb: 9_000n, targetBlocks: 6 });
    look({ satPerKvb: 4_000n, targetBlocks: 25 });
    look({ satPerKvb: 1_000n, targetBlocks: undefined });
    expect(told).toEqual([]);
    look({ satPerKvb: 2_000n, targetBlocks: undefined });
    look({ satPerKvb: 8_000n, targetBlocks: 6 });
    look({ satPerKvb: 9_500n, targetBlocks: 6 });
    expect(told).toEqual([
      { type: 'FeeRateChanged', oldSatPerKvb: 1_000n, newSatPerKvb: 2_000n, mempoolCount: 7 },
      { type: 'FeeRateChanged', oldSatPerKvb: 8_000n, newSatPerKvb: 9_500n, mempoolCount: 7, targetBlocks: 6 },
    ]);
  });
});
