import { iterateBlockTransactions } from '../../core/bitcoin/block.js';
import { hash256 } from '../../core/bitcoin/hash.js';
import { type BlockHeader, blockHash, HEADER_BYTES, parseHeader } from '../../core/bitcoin/header.js';
import { merkleRoot, merkleTree } from '../../core/bitcoin/merkle.js';
import { meetsTarget, targetFromBits } from '../../core/bitcoin/target.js';
import { hasWitness, isCoinbase, type Transaction, WITNESS_SCALE_FACTOR } from '../../core/bitcoin/transaction.js';
import { compactSizeLength } from '../../core/bitcoin/writer.js';
import { equalBytes } from '../../core/bytes.js';
import type { BlockNode } from './block-tree.js';
import { checkTransaction, isFinal, ownSigops, strippedSize } from './check-transaction.js';
import { type KnownTransaction, knownTransaction } from './known-transaction.js';
import {
  MAX_BLOCK_SIGOPS_COST,
  MAX_BLOCK_WEIGHT,
  MAX_FUTURE_BLOCK_TIME_S,
  MIN_BLOCK_VERSION,
  POW_BITS,
  POW_LIMIT,
} from './params.js';
import { pushNumber } from './script.js';

/** Start of the output that carries the witness commitment: OP_RETURN, a push of 36 bytes, and the tag (BIP 141). */
const COMMITMENT_HEAD = Uint8Array.of(0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed);

/** A block with everything that is derived from its bytes, worked out once. */
export interface KnownBlock {
  raw: Uint8Array;
  hash: Uint8Array;
  headerBytes: Uint8Array;
  header: BlockHeader;
  transactions: KnownTransaction[];
  weight: number;
}

/** Decodes a block. @throws MalformedBytesError */
export function knownBlock(raw: Uint8Array): KnownBlock {
  const transactions = [...iterateBlockTransactions(raw)].map((item) => knownTransaction(item.raw, item.transaction));
  const headerBytes = raw.subarray(0, HEADER_BYTES);
  return {
    raw,
    hash: blockHash(headerBytes),
    headerBytes,
    header: parseHeader(headerBytes),
    transactions,
    weight: blockWeight(transactions),
  };
}

/** What a block is by itself, whatever the chain: a reason when it breaks a rule, else undefined. */
export function checkBlock(block: KnownBlock): string | undefined {
  const { transactions } = block;
  if (!provesWork(block)) return 'high-hash';
  const tree = merkleTree(transactions.map((known) => known.txid));
  if (!equalBytes(tree.root, block.header.merkleRoot)) return 'bad-txnmrklroot';
  if (tree.mutated) return 'bad-txns-duplicate';
  const stripped = transactions.reduce(
    (sum, known) => sum + strippedSize(known),
    HEADER_BYTES + compactSizeLength(transactions.length),
  );
  if (transactions.length === 0 || stripped * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT) return 'bad-blk-length';
  if (transactions.some((known, index) => index === 0 && !isCoinbase(known.transaction))) return 'bad-cb-missing';
  if (transactions.some((known, index) => index > 0 && isCoinbase(known.transaction))) return 'bad-cb-multiple';
  let sigops = 0;
  for (const known of transactions) {
    const reason = checkTransaction(known);
    if (reason !== undefined) return reason;
    sigops += ownSigops(known.transaction);
  }
  return sigops * WITNESS_SCALE_FACTOR > MAX_BLOCK_SIGOPS_COST ? 'bad-blk-sigops' : undefined;
}

/** Rules of a header in its place. @param nowUnixS the clock, or undefined when it must not matter (stored blocks) */
export function checkHeaderAt(
  header: BlockHeader,
  parent: BlockNode,
  nowUnixS: number | undefined,
): string | undefined {
  if (header.bits !== POW_BITS) return 'bad-diffbits';
  if (header.timeUnixS <= parent.medianTimeUnixS) return 'time-too-old';
  if (nowUnixS !== undefined && header.timeUnixS > nowUnixS + MAX_FUTURE_BLOCK_TIME_S) return 'time-too-new';
  if (header.version < MIN_BLOCK_VERSION) {
    return `bad-version(0x${(header.version >>> 0).toString(16).padStart(8, '0')})`;
  }
  return undefined;
}

/** Rules of a block in its place, short of what it spends. */
export function checkBlockAt(block: KnownBlock, parent: BlockNode): string | undefined {
  const height = parent.height + 1;
  for (const known of block.transactions) {
    if (!isFinal(known.transaction, height, parent.medianTimeUnixS)) return 'bad-txns-nonfinal';
  }
  const push = pushNumber(height);
  const script = block.transactions[0]?.transaction.inputs[0]?.scriptSig ?? new Uint8Array(0);
  if (!equalBytes(script.subarray(0, push.length), push)) return 'bad-cb-height';
  return checkWitness(block) ?? (block.weight > MAX_BLOCK_WEIGHT ? 'bad-blk-weight' : undefined);
}

/** The 38-byte output script that commits to the witnesses of these transactions, the coinbase being the first. */
export function commitmentScript(wtxidsAfterCoinbase: readonly Uint8Array[], reserved: Uint8Array): Uint8Array {
  const root = merkleRoot([new Uint8Array(32), ...wtxidsAfterCoinbase]);
  return new Uint8Array(Buffer.concat([COMMITMENT_HEAD, hash256(Buffer.concat([root, reserved]))]));
}

/** Weight units of a block of these transactions. */
export function blockWeight(transactions: readonly KnownTransaction[]): number {
  const frame = (HEADER_BYTES + compactSizeLength(transactions.length)) * WITNESS_SCALE_FACTOR;
  return transactions.reduce((sum, known) => sum + known.weight, frame);
}

function provesWork(block: KnownBlock): boolean {
  try {
    const target = targetFromBits(block.header.bits);
    return target <= POW_LIMIT && meetsTarget(block.hash, target);
  } catch {
    // A compact form that stands for no target proves nothing.
    return false;
  }
}

function checkWitness(block: KnownBlock): string | undefined {
  const coinbase = block.transactions[0]?.transaction;
  const committed = coinbase === undefined ? undefined : commitmentOf(coinbase);
  if (committed === undefined) {
    return block.transactions.some((known) => hasWitness(known.transaction)) ? 'unexpected-witness' : undefined;
  }
  const witness = coinbase?.inputs[0]?.witness ?? [];
  const [reserved] = witness;
  if (witness.length !== 1 || reserved?.length !== 32) return 'bad-witness-nonce-size';
  const wtxids = block.transactions.slice(1).map((known) => known.wtxid);
  const expected = commitmentScript(wtxids, reserved);
  return equalBytes(committed.subarray(0, expected.length), expected) ? undefined : 'bad-witness-merkle-match';
}

/** The last output that looks like a commitment counts. */
function commitmentOf(coinbase: Transaction): Uint8Array | undefined {
  return coinbase.outputs.findLast(
    ({ scriptPubkey }) =>
      scriptPubkey.length >= 38 && equalBytes(scriptPubkey.subarray(0, COMMITMENT_HEAD.length), COMMITMENT_HEAD),
  )?.scriptPubkey;
}
