import { describe, expect, it } from 'vitest';
import {
  StreamBlocksRequest,
  type StreamBlocksResponse,
  StreamHeadersRequest,
  type StreamHeadersResponse,
} from '../../gen/ts/modhost/v1/chain.js';
import { HostError } from '../../src/contract/error.js';
import { equalBytes } from '../../src/core/bytes.js';
import { createChainService } from '../../src/services/chain.js';
import { callContext, collect, createNodeDouble, reasonOf } from './node-double.js';

function rig(blocks = 4) {
  const double = createNodeDouble();
  for (let i = 1; i < blocks; i++) double.mine();
  return { double, chain: createChainService({ node: double.node }), context: callContext() };
}

describe('ranges', () => {
  const blocks = (rigged: ReturnType<typeof rig>, range: Partial<StreamBlocksRequest>) =>
    rigged.chain.streamBlocks(
      StreamBlocksRequest.fromPartial(range),
      rigged.context,
    ) as AsyncIterable<StreamBlocksResponse>;
  const headers = (rigged: ReturnType<typeof rig>, range: Partial<StreamHeadersRequest>) =>
    rigged.chain.streamHeaders(
      StreamHeadersRequest.fromPartial(range),
      rigged.context,
    ) as AsyncIterable<StreamHeadersResponse>;

  it.each([
    [{}, [0, 1, 2, 3, 4, 5]],
    [{ fromHeight: 4 }, [4, 5]],
    [{ fromHeight: 1, toHeight: 3 }, [1, 2, 3]],
    [{ fromHeight: 1, toHeight: 5, count: 2 }, [1, 2]],
    [{ count: 1 }, [0]],
    [{ fromHeight: 5, count: 100 }, [5]],
  ])('%o', async (range, heights) => {
    const rigged = rig(6);
    expect((await collect(blocks(rigged, range))).map((block) => block.height)).toEqual(heights);
    const pages = await collect(headers(rigged, range));
    expect(pages.flatMap((page) => page.headers.map((header) => header.height))).toEqual(heights);
  });

  it.each([{ fromHeight: 6 }, { fromHeight: 1, toHeight: 6 }])('above the tip: %o', async (range) => {
    const rigged = rig(6);
    expect(await reasonOf(() => blocks(rigged, range))).toBe('NO_CHAIN_HEIGHT');
    expect(await reasonOf(() => headers(rigged, range))).toBe('NO_CHAIN_HEIGHT');
  });

  it('gives headers in messages of 1,000', async () => {
    const rigged = rig(2_101);
    const pages = await collect(headers(rigged, {}));
    expect(pages.map((page) => page.headers.length)).toEqual([1_000, 1_000, 101]);
  });

  it('C165: never walks from one branch to another: TIP_MOVED', async () => {
    const rigged = rig(10);
    const seen: Uint8Array[] = [];
    const walk = async () => {
      for await (const block of blocks(rigged, {})) {
        const parent = seen.at(-1);
        if (parent !== undefined) expect(equalBytes(block.raw.subarray(4, 36), parent)).toBe(true);
        seen.push(block.hash);
        if (block.height === 4) {
          rigged.double.disconnect(8);
          for (let i = 0; i < 9; i++) rigged.double.mine();
        }
      }
    };
    expect(await reasonOf(walk)).toBe('TIP_MOVED');
    expect(seen.length).toBeGreaterThanOrEqual(5);
    expect(seen.length).toBeLessThan(10);
  });

  it('says TIP_MOVED when the chain becomes shorter than the range', async () => {
    const rigged = rig(10);
    const walk = async () => {
      for await (const block of blocks(rigged, {})) if (block.height === 2) rigged.double.disconnect(5);
    };
    expect(await reasonOf(walk)).toBe('TIP_MOVED');
  });

  it('says TIP_MOVED when a reorganisation falls between two messages of headers', async () => {
    const rigged = rig(1_005);
    const walk = async () => {
      for await (const _ of headers(rigged, {})) {
        rigged.double.disconnect(10);
        for (let i = 0; i < 11; i++) rigged.double.mine();
      }
    };
    expect(await reasonOf(walk)).toBe('TIP_MOVED');
  });

  it('fetches at most two blocks ahead of a reader that waits', async () => {
    const rigged = rig(20);
    const walk = blocks(rigged, {})[Symbol.asyncIterator]();
    await walk.next();
    await new Promise((resolve) => setImmediate(resolve));
    expect(rigged.double.calls.filter((call) => call === 'getBlock').length).toBeLessThanOrEqual(3);
    await walk.return?.();
    const asked = rigged.double.calls.length;
    await new Promise((resolve) => setImmediate(resolve));
    expect(rigged.double.calls.length).toBe(asked);
  });

  it('stops when the call is cancelled', async () => {
    const rigged = rig(20);
    const controller = new AbortController();
    const stream = rigged.chain.streamBlocks(StreamBlocksRequest.fromPartial({}), callContext(controller.signal));
    const walk = async () => {
      for await (const _ of stream) controller.abort(new HostError('CANCELLED', 'enough'));
    };
    expect(await reasonOf(walk)).toBe('CANCELLED');
  });
});
