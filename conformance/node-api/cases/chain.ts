import assert from 'node:assert/strict';
import { parseBlock } from '../../../src/core/bitcoin/block.js';
import { blockHash, parseHeader } from '../../../src/core/bitcoin/header.js';
import { merkleRoot } from '../../../src/core/bitcoin/merkle.js';
import { uint256FromBytes, workFromBits } from '../../../src/core/bitcoin/target.js';
import { isCoinbase, txid } from '../../../src/core/bitcoin/transaction.js';
import { equalBytes, hashFromDisplay } from '../../../src/core/bytes.js';
import type { HeaderAt } from '../../../src/node/node-api.js';
import { type Case, rejects, required, type Stage, unknownHash } from '../stage.js';

/** Genesis of regtest, the same in Bitcoin Core and btcd. */
const REGTEST_GENESIS = '0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206';
/** Headers asked for at once when the whole chain is read. */
const HEADERS_AT_ONCE = 500;
/** Blocks whose times make the median time past (BIP 113). */
const MEDIAN_TIME_SPAN = 11;
/** A height that no regtest chain of a test reaches. */
const FAR_HEIGHT = 9_000_000;

async function allHeaders({ node, tip, signal }: Stage): Promise<HeaderAt[]> {
  const { height } = await tip();
  const headers: HeaderAt[] = [];
  while (headers.length <= height) {
    const more = await node.chain.getHeaders(headers.length, HEADERS_AT_ONCE, signal());
    assert.ok(more.length > 0, 'no headers below the tip');
    headers.push(...more);
  }
  return headers;
}

/** Reads of headers and blocks. */
export const chainCases: Case[] = [
  {
    id: 'chain/get-state/tip-is-what-was-mined',
    run: async ({ mine, node, signal }) => {
      const [hash] = await mine(1);
      const state = await node.chain.getState(signal());
      assert.deepEqual(state.tip.hash, hash);
      assert.deepEqual(await node.chain.getHash(state.tip.height, signal()), hash);
    },
  },
  {
    id: 'chain/get-state/header-is-the-tips',
    run: async ({ node, signal }) => {
      const { header, tip } = await node.chain.getState(signal());
      assert.equal(header.byteLength, 80);
      assert.deepEqual(blockHash(header), tip.hash);
    },
  },
  {
    id: 'chain/get-state/median-time-past',
    run: async ({ node, signal }) => {
      const { tip, medianTimeUnixS } = await node.chain.getState(signal());
      const headers = await node.chain.getHeaders(tip.height - MEDIAN_TIME_SPAN + 1, MEDIAN_TIME_SPAN, signal());
      const times = headers.map(({ header }) => parseHeader(header).timeUnixS).sort((a, b) => a - b);
      assert.equal(medianTimeUnixS, times[(MEDIAN_TIME_SPAN - 1) / 2]);
    },
  },
  {
    id: 'chain/get-state/work-is-the-sum-of-the-headers',
    run: async (stage) => {
      const headers = await allHeaders(stage);
      const work = headers.reduce((sum, { header }) => sum + workFromBits(parseHeader(header).bits), 0n);
      const { chainWork } = await stage.node.chain.getState(stage.signal());
      assert.equal(chainWork.byteLength, 32);
      assert.equal(uint256FromBytes(chainWork), work);
    },
  },
  {
    id: 'chain/get-state/difficulty-is-a-number',
    run: async ({ node, signal }) => {
      const { difficulty } = await node.chain.getState(signal());
      assert.ok(Number.isFinite(difficulty) && difficulty > 0);
    },
  },
  {
    id: 'chain/get-sync/synced',
    run: async ({ node, tip, signal }) => {
      const sync = await node.chain.getSync(signal());
      assert.equal(sync.phase, 'synced');
      assert.equal(sync.blocks, (await tip()).height);
      assert.ok(sync.headers >= sync.blocks);
      assert.ok(sync.progress > 0 && sync.progress <= 1);
      assert.equal(sync.initialBlockDownload, false);
    },
  },
  {
    id: 'chain/get-hash/genesis',
    run: async ({ node, signal }) => {
      assert.deepEqual(await node.chain.getHash(0, signal()), hashFromDisplay(REGTEST_GENESIS));
    },
  },
  {
    id: 'chain/get-hash/one-above-the-tip',
    run: async ({ node, tip, signal }) => {
      await rejects(node.chain.getHash((await tip()).height + 1, signal()), 'NO_CHAIN_HEIGHT');
    },
  },
  {
    id: 'chain/get-hash/far-above-the-tip',
    run: async ({ node, signal }) => {
      await rejects(node.chain.getHash(FAR_HEIGHT, signal()), 'NO_CHAIN_HEIGHT');
    },
  },
  {
    id: 'chain/get-block/tip',
    run: async ({ node, tip, signal }) => {
      const { hash, height } = await tip();
      const block = await node.chain.getBlock(hash, signal());
      assert.deepEqual(block.hash, hash);
      assert.equal(block.height, height);
      assert.deepEqual(blockHash(block.raw.subarray(0, 80)), hash);
    },
  },
  {
    id: 'chain/get-block/genesis',
    run: async ({ node, signal }) => {
      const hash = await node.chain.getHash(0, signal());
      const block = await node.chain.getBlock(hash, signal());
      assert.equal(block.height, 0);
      assert.deepEqual(blockHash(block.raw.subarray(0, 80)), hash);
    },
  },
  {
    id: 'chain/get-block/holds-what-its-header-commits-to',
    run: async ({ node, tip, signal }) => {
      const { raw } = await node.chain.getBlock((await tip()).hash, signal());
      const block = parseBlock(raw);
      assert.deepEqual(merkleRoot(block.transactions.map(txid)), Uint8Array.from(block.header.merkleRoot));
      assert.ok(isCoinbase(required(block.transactions[0], 'a block without coinbase')));
    },
  },
  {
    id: 'chain/get-block/with-witness',
    needs: ['submit-transaction'],
    run: async ({ mempool, mine, node, subject, signal }) => {
      const { raw, txid: id } = await subject.spend();
      await mempool().submit(raw, { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n }, signal());
      const hash = required((await mine(1))[0], 'nothing was mined');
      const block = parseBlock((await node.chain.getBlock(hash, signal())).raw);
      const found = required(
        block.transactions.find((transaction) => equalBytes(txid(transaction), id)),
        'the transaction was not mined',
      );
      assert.ok(found.inputs.some((input) => input.witness.length > 0));
    },
  },
  {
    id: 'chain/get-block/unknown-hash',
    run: async ({ node, signal }) => {
      await rejects(node.chain.getBlock(unknownHash(), signal()), 'BLOCK_NOT_FOUND');
    },
  },
  {
    id: 'chain/get-block/stale-branch',
    run: async ({ node, reorg, tip, signal }) => {
      const stale = await tip();
      await reorg(1);
      const block = await node.chain.getBlock(stale.hash, signal());
      assert.equal(block.height, stale.height);
      assert.deepEqual(blockHash(block.raw.subarray(0, 80)), stale.hash);
      assert.notDeepEqual(await node.chain.getHash(stale.height, signal()), stale.hash);
    },
  },
  {
    id: 'chain/get-header/tip',
    run: async ({ node, tip, signal }) => {
      const { hash, height } = await tip();
      const at = await node.chain.getHeader(hash, signal());
      assert.deepEqual({ hash: at.hash, height: at.height }, { hash, height });
      assert.deepEqual(blockHash(at.header), hash);
      assert.equal(at.confirmations, 1);
      assert.ok(at.txCount === 0 || at.txCount >= 1);
    },
  },
  {
    id: 'chain/get-header/confirmations-count-the-block-itself',
    run: async ({ node, tip, signal }) => {
      const { height } = await tip();
      const hash = await node.chain.getHash(height - 5, signal());
      assert.equal((await node.chain.getHeader(hash, signal())).confirmations, 6);
    },
  },
  {
    id: 'chain/get-header/unknown-hash',
    run: async ({ node, signal }) => {
      await rejects(node.chain.getHeader(unknownHash(), signal()), 'BLOCK_NOT_FOUND');
    },
  },
  {
    id: 'chain/get-header/stale-branch-has-no-confirmations',
    run: async ({ node, reorg, tip, signal }) => {
      const stale = await tip();
      await reorg(1);
      const at = await node.chain.getHeader(stale.hash, signal());
      assert.equal(at.confirmations, 0);
      assert.equal(at.height, stale.height);
    },
  },
  {
    id: 'chain/get-headers/whole-chain-is-linked',
    run: async (stage) => {
      const headers = await allHeaders(stage);
      headers.forEach((at, height) => {
        assert.equal(at.height, height);
        assert.deepEqual(blockHash(at.header), at.hash);
        const parent = headers[height - 1];
        if (parent !== undefined) {
          assert.deepEqual(Uint8Array.from(parseHeader(at.header).previousHash), parent.hash);
        }
      });
      assert.deepEqual(headers.at(-1)?.hash, (await stage.tip()).hash);
    },
  },
  {
    id: 'chain/get-headers/exactly-as-many-as-asked',
    run: async ({ node, signal }) => {
      const headers = await node.chain.getHeaders(3, 7, signal());
      assert.deepEqual(
        headers.map((at) => at.height),
        [3, 4, 5, 6, 7, 8, 9],
      );
    },
  },
  {
    id: 'chain/get-headers/fewer-at-the-tip',
    run: async ({ node, tip, signal }) => {
      const { hash, height } = await tip();
      const headers = await node.chain.getHeaders(height - 2, 100, signal());
      assert.equal(headers.length, 3);
      assert.deepEqual(headers.at(-1)?.hash, hash);
      assert.deepEqual(
        headers.map((at) => at.confirmations),
        [3, 2, 1],
      );
    },
  },
  {
    id: 'chain/get-headers/tip-alone',
    run: async ({ node, tip, signal }) => {
      const { hash, height } = await tip();
      const headers = await node.chain.getHeaders(height, 1, signal());
      assert.deepEqual(
        headers.map((at) => at.hash),
        [hash],
      );
    },
  },
  {
    id: 'chain/get-headers/above-the-tip',
    run: async ({ node, tip, signal }) => {
      await rejects(node.chain.getHeaders((await tip()).height + 1, 10, signal()), 'NO_CHAIN_HEIGHT');
    },
  },
  {
    id: 'chain/get-headers/agrees-with-get-header',
    run: async ({ node, signal }) => {
      const [at] = await node.chain.getHeaders(5, 1, signal());
      const single = await node.chain.getHeader(required(at, 'no header at 5').hash, signal());
      assert.deepEqual(single.header, at?.header);
      assert.equal(single.height, 5);
    },
  },
  {
    id: 'chain/calls-at-once/answers-are-not-mixed-up',
    run: async ({ node, signal }) => {
      const heights = Array.from({ length: 60 }, (_, height) => height);
      const hashes = await Promise.all(heights.map((height) => node.chain.getHash(height, signal())));
      const headers = await Promise.all(hashes.map((hash) => node.chain.getHeader(hash, signal())));
      assert.deepEqual(
        headers.map((at) => at.height),
        heights,
      );
    },
  },
];
