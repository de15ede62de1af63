import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mineTemplate } from '../../conformance/node-api/mined-block.js';
import type { NodeApiSubject, SignedTransaction, SpendRequest } from '../../conformance/node-api/subject.js';
import { targetFromBits, uint256ToBytes } from '../../src/core/bitcoin/target.js';
import { parseTransaction } from '../../src/core/bitcoin/transaction.js';
import { hashFromDisplay, hashToDisplay, toHex } from '../../src/core/bytes.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createBtcdNode } from '../../src/node/btcd/node.js';
import type { BtcdOptions } from '../../src/node/btcd/options.js';
import { type Btcd, startBtcd } from './btcd.js';
import { type Coin, createWallet, type Wallet } from './wallet.js';

const POW_BITS = 0x207f_ffff;
const FIRST_SUBSIDY_SATS = 5_000_000_000n;
const HALVING_BLOCKS = 150;
const MATURITY_BLOCKS = 100;
/** Fee of a transaction, satoshis: some satoshis per byte of its 110 to 130. */
const FEE_SATS = 1_000n;
const BURNED_SATS = 10_000n;
const SATS_PER_BTC = 100_000_000;

/** Looks often enough that a test need not wait seconds. */
const TEST_INTERVALS = { chainMs: 100, chainWhileToldMs: 1_000, mempoolMs: 100, mempoolWhileToldMs: 1_000 };

interface BlockAnswer {
  hash: string;
  height: number;
  time: number;
  mediantime?: number;
  tx: string[];
}

/** Hands on a btcd beside its RPC. */
export interface BtcdHands {
  mine(count: number): Promise<Uint8Array[]>;
  /** Hands in a longer branch block by block: the node switches at the last one, as it would to a peer's chain. */
  reorg(depth: number): Promise<Uint8Array[]>;
  spend(request?: SpendRequest): Promise<SignedTransaction>;
}

/** Hands on a btcd that mines to this wallet. */
export function createBtcdHands(btcd: Btcd, wallet: Wallet): BtcdHands {
  let nextCoinHeight = 1;
  let tag = 0;

  const bytesOf = (display: string): Uint8Array => {
    const hash = hashFromDisplay(display);
    if (hash === undefined) throw new Error(`btcd named ${display}`);
    return hash;
  };
  const blockAt = async (height: number): Promise<BlockAnswer> =>
    await btcd.rpc<BlockAnswer>('getblock', [await btcd.rpc('getblockhash', [height]), 1]);

  /** The next coinbase that pays the wallet, is ripe and unspent, also by the mempool. */
  const nextCoin = async (): Promise<Coin> => {
    const tip = await btcd.rpc<number>('getblockcount');
    for (; nextCoinHeight <= tip - MATURITY_BLOCKS; nextCoinHeight++) {
      const [coinbase = ''] = (await blockAt(nextCoinHeight)).tx;
      const found = await btcd.rpc<{ value: number; scriptPubKey: { hex: string } } | null>('gettxout', [
        coinbase,
        0,
        true,
      ]);
      if (found?.scriptPubKey.hex !== toHex(wallet.scriptPubkey)) continue;
      nextCoinHeight++;
      return { txid: bytesOf(coinbase), index: 0, valueSats: BigInt(Math.round(found.value * SATS_PER_BTC)) };
    }
    throw new Error('btcd has no ripe coinbase left');
  };

  return {
    mine: async (count) => (await btcd.rpc<string[]>('generate', [count])).map(bytesOf),
    reorg: async (depth) => {
      const forkHeight = (await btcd.rpc<number>('getblockcount')) - depth;
      const fork = await blockAt(forkHeight);
      const branch: Uint8Array[] = [];
      let previousHash = bytesOf(fork.hash);
      tag = (tag + 1) % 256;
      for (let i = 1; i <= depth + 1; i++) {
        const height = forkHeight + i;
        const block = mineTemplate(
          {
            previousHash,
            height,
            version: 0x2000_0000,
            versionBitsMask: 0,
            bits: POW_BITS,
            target: uint256ToBytes(targetFromBits(POW_BITS)),
            // Later than its parent, so later than the median of the last eleven.
            currentTimeUnixS: fork.time + i,
            minTimeUnixS: fork.time + i,
            coinbaseValueSats: FIRST_SUBSIDY_SATS >> BigInt(Math.floor(height / HALVING_BLOCKS)),
            witnessCommitmentScript: new Uint8Array(),
            transactions: [],
            sigopLimit: 80_000,
            sizeLimit: 4_000_000,
            weightLimit: 4_000_000,
          },
          { tag },
        );
        const refusal = await btcd.rpc<string | null>('submitblock', [toHex(block.raw)]);
        if (refusal !== null) throw new Error(`btcd refused ${hashToDisplay(block.hash)}: ${refusal}`);
        branch.push(block.hash);
        previousHash = block.hash;
      }
      return branch;
    },
    spend: async (request = {}) => {
      if (request.parent !== undefined) {
        const [output] = parseTransaction(request.parent.raw).outputs;
        if (output === undefined) throw new Error('the parent has no outputs');
        const coin = { txid: request.parent.txid, index: 0, valueSats: output.valueSats };
        return wallet.spend(coin, { feeSats: FEE_SATS });
      }
      const burnSats = request.burn === true ? BURNED_SATS : undefined;
      return wallet.spend(await nextCoin(), { feeSats: FEE_SATS, burnSats });
    },
  };
}

/** A subject over a btcd of its own. */
export async function createBtcdSubject(setup: {
  tls: boolean;
  txindex?: boolean;
  options?: Partial<BtcdOptions>;
}): Promise<NodeApiSubject> {
  const dir = await mkdtemp(join(tmpdir(), 'modhost-btcd-'));
  const wallet = createWallet(new Uint8Array(32).fill(11));
  const btcd = await startBtcd({
    dir,
    tls: setup.tls,
    txindex: setup.txindex ?? true,
    miningAddress: wallet.address,
  });
  const node = createBtcdNode(
    {
      url: btcd.url,
      user: btcd.user,
      password: btcd.pass,
      tls: setup.tls,
      tlsCa: btcd.certFile,
      network: 'regtest',
      websocket: true,
      maxCallsInFlight: 4,
      intervals: TEST_INTERVALS,
      ...setup.options,
    },
    { clock: createSystemClock(), logger: createSilentLogger(), random: Math.random },
  );
  return {
    node,
    ...createBtcdHands(btcd, wallet),
    restart: async (whileDown) => {
      await btcd.stop();
      await btcd.start(whileDown);
    },
    stall: async () => {
      const thaw = btcd.freeze();
      return async () => thaw();
    },
    dispose: async () => {
      await node.stop();
      await btcd.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
