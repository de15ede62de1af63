import { createHash } from 'node:crypto';
import { parseBlock, serializeBlock } from '../../../src/core/bitcoin/block.js';
import { type BlockHeader, blockHash, serializeHeader } from '../../../src/core/bitcoin/header.js';
import { merkleRoot } from '../../../src/core/bitcoin/merkle.js';
import { meetsTarget } from '../../../src/core/bitcoin/target.js';
import {
  parseTransaction,
  serializeTransaction,
  type Transaction,
  type TransactionOutput,
  txid,
  wtxid,
} from '../../../src/core/bitcoin/transaction.js';
import type { Clock } from '../../../src/core/clock.js';
import { createSilentLogger } from '../../../src/core/logger.js';
import { commitmentScript } from '../../../src/node/devchain/check-block.js';
import { createDevchain, type Devchain, type DevchainOptions } from '../../../src/node/devchain/devchain.js';
import { ecdsaKey, taprootKey } from '../../../src/node/devchain/keys.js';
import { solveTemplate } from '../../../src/node/devchain/miner.js';
import { POW_LIMIT } from '../../../src/node/devchain/params.js';
import { hash160, keyHashScriptCode, taprootScript, witnessKeyHashScript } from '../../../src/node/devchain/script.js';
import { createSighashSource } from '../../../src/node/devchain/sighash.js';
import type { NodeEvent } from '../../../src/node/node-api.js';

/** A signal that never fires. */
export const never = new AbortController().signal;

/** Submission without bounds. */
export const unbounded = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };

/** A clock that moves when told; begins on 2026-01-01. */
export function createTestClock(): Clock & { advanceS(seconds: number): void } {
  let unixMs = 1_767_225_600_000;
  return {
    monotonicMs: () => unixMs,
    unixMs: () => unixMs,
    advanceS(seconds) {
      unixMs += seconds * 1000;
    },
  };
}

/** Randomness that is the same in every run. */
export function createTestRandom(label = 'devchain'): (bytes: number) => Uint8Array {
  let counter = 0;
  return (bytes) => {
    counter += 1;
    return new Uint8Array(createHash('shake256', { outputLength: bytes }).update(`${label}/${counter}`).digest());
  };
}

/** A devchain with fixed clock, seed and randomness, and everything that it told. */
export interface Bench {
  devchain: Devchain;
  clock: ReturnType<typeof createTestClock>;
  events: NodeEvent[];
  /** What was told since the last call, told once. */
  fresh(): NodeEvent[];
}

/** Starts a devchain of `blocks` blocks. */
export async function startBench(blocks: number, options: Partial<DevchainOptions> = {}): Promise<Bench> {
  const clock = createTestClock();
  const events: NodeEvent[] = [];
  const devchain = createDevchain({
    clock,
    logger: createSilentLogger(),
    random: createTestRandom(),
    seed: new Uint8Array(32).fill(1),
    ...options,
  });
  await devchain.start((event) => events.push(event), never);
  if (blocks > 0) await devchain.control.mine(blocks);
  let told = events.length;
  return {
    devchain,
    clock,
    events,
    fresh() {
      const since = events.slice(told);
      told = events.length;
      return since;
    },
  };
}

/** The groups of the port that a devchain always has. */
export function groups(devchain: Devchain) {
  const { mempool, mining, utxo, network } = devchain;
  if (mempool === undefined || mining === undefined || utxo === undefined || network === undefined) {
    throw new Error('the devchain lacks a group');
  }
  return { chain: devchain.chain, mempool, mining, utxo, network };
}

/** A solved block on the tip, not submitted, with what the mempool holds. */
export async function nextBlock(devchain: Devchain, extraNonce = 0xffff_0000): Promise<Uint8Array> {
  const template = await groups(devchain).mining.getTemplate(['segwit'], never);
  return solveTemplate(template, { rewardScript: devchain.control.scripts().p2tr, extraNonce });
}

/** A block laid open for changes. */
export interface Draft {
  header: BlockHeader;
  transactions: Transaction[];
  /** Work out again what commits to the transactions; true unless switched off. */
  fixMerkleRoot: boolean;
  fixCommitment: boolean;
  /** Find a nonce; true unless switched off. */
  fixWork: boolean;
}

/** A block with changes, committed to and solved again. */
export function changedBlock(raw: Uint8Array, change: (draft: Draft) => void): Uint8Array {
  const block = parseBlock(Uint8Array.from(raw));
  const draft: Draft = { ...block, fixMerkleRoot: true, fixCommitment: true, fixWork: true };
  change(draft);
  const [coinbase, ...rest] = draft.transactions;
  const commitment = coinbase?.outputs.at(-1);
  if (draft.fixCommitment && commitment !== undefined) {
    commitment.scriptPubkey = commitmentScript(rest.map(wtxid), coinbase?.inputs[0]?.witness[0] ?? new Uint8Array(32));
  }
  if (draft.fixMerkleRoot) draft.header.merkleRoot = merkleRoot(draft.transactions.map(txid));
  return serializeBlock(draft.fixWork ? solved(draft.header) : serializeHeader(draft.header), draft.transactions);
}

/** Header bytes with a nonce that meets regtest's target. */
export function solved(header: BlockHeader): Uint8Array {
  for (let nonce = 0; ; nonce++) {
    const bytes = serializeHeader({ ...header, nonce });
    if (meetsTarget(blockHash(bytes), POW_LIMIT)) return bytes;
  }
}

/** The coinbase of a draft. */
export function coinbaseOf(draft: Draft): Transaction {
  const [coinbase] = draft.transactions;
  if (coinbase === undefined) throw new Error('the draft has no coinbase');
  return coinbase;
}

/** An output and how to spend it with a key that is not the devchain's. */
export interface ForeignCoin {
  txid: Uint8Array;
  index: number;
  output: TransactionOutput;
}

/** Keys of somebody else than the devchain, who signs as a test wishes. */
export function createForeignWallet(fill = 5) {
  const taproot = taprootKey(new Uint8Array(32).fill(fill));
  const ecdsa = ecdsaKey(new Uint8Array(32).fill(fill));
  const p2tr = taprootScript(taproot.outputKey);
  const p2wpkh = witnessKeyHashScript(ecdsa.publicKey);
  return {
    p2tr,
    p2wpkh,
    publicKey: ecdsa.publicKey,
    /** Signs every input with the hash type; all coins are this wallet's. */
    sign(transaction: Transaction, coins: readonly ForeignCoin[], hashType = 1): Transaction {
      const source = createSighashSource(
        transaction,
        coins.map((coin) => coin.output),
      );
      const inputs = transaction.inputs.map((input, index) => {
        if (coins[index]?.output.scriptPubkey.length === 22) {
          const message = source.witnessV0(index, keyHashScriptCode(hash160(ecdsa.publicKey)), hashType);
          return { ...input, witness: [Uint8Array.of(...ecdsa.sign(message), hashType), ecdsa.publicKey] };
        }
        const message = source.taproot(index, hashType, undefined) ?? new Uint8Array(32);
        const signature = taproot.sign(message, new Uint8Array(32));
        return { ...input, witness: [hashType === 0 ? signature : Uint8Array.of(...signature, hashType)] };
      });
      return { ...transaction, inputs };
    },
  };
}

/** An unsigned transaction of version 2. */
export function unsigned(
  coins: readonly { txid: Uint8Array; index: number }[],
  outputs: TransactionOutput[],
  change: { sequence?: number; lockTime?: number; version?: number } = {},
): Transaction {
  return {
    version: change.version ?? 2,
    inputs: coins.map((coin) => ({
      outpoint: { txid: coin.txid, index: coin.index },
      scriptSig: new Uint8Array(0),
      sequence: change.sequence ?? 0xffff_fffd,
      witness: [],
    })),
    outputs,
    lockTime: change.lockTime ?? 0,
  };
}

/** Bytes with witness. */
export function rawOf(transaction: Transaction): Uint8Array {
  return serializeTransaction(transaction, { witness: true });
}

/** An output of a serialised transaction as a coin. */
export function coinOf(raw: Uint8Array, index: number): ForeignCoin {
  const transaction = parseTransaction(Uint8Array.from(raw));
  const output = transaction.outputs[index];
  if (output === undefined) throw new Error('no such output');
  return { txid: txid(transaction), index, output };
}

/** A confirmed coin on a script, half of a coinbase. */
export async function fund(devchain: Devchain, scriptPubkey: Uint8Array): Promise<ForeignCoin> {
  const raw = await devchain.control.createSpend({ scriptPubkey, feeRateSatPerKvb: 2_000n });
  if (raw === undefined) throw new Error('the devchain has no matured coin left');
  await groups(devchain).mempool.submit(raw, unbounded, never);
  await devchain.control.mine(1);
  return coinOf(raw, 0);
}
