import { parseTransaction } from '../../../src/core/bitcoin/transaction.js';
import type { Devchain } from '../../../src/node/devchain/devchain.js';
import { subsidyAt } from '../../../src/node/devchain/params.js';
import { pushNumber } from '../../../src/node/devchain/script.js';
import {
  type Bench,
  changedBlock,
  coinbaseOf,
  coinOf,
  createForeignWallet,
  type Draft,
  type ForeignCoin,
  groups,
  never,
  nextBlock,
  rawOf,
  unsigned,
} from './bench.js';

/** A block that breaks one rule, and what must be said of it. */
export interface BrokenBlock {
  rule: string;
  /** Reason in Bitcoin Core's words; for scripts only the part before the detail. */
  reason: string;
  make(bench: Bench, material: Material): Promise<Uint8Array>;
}

/** What broken blocks are made of: coins of a foreign wallet, confirmed. */
export interface Material {
  taproot: ForeignCoin;
  keyHash: ForeignCoin;
}

const wallet = createForeignWallet();
const empty = new Uint8Array(0);

/** A block on the tip with changes. */
async function onTip(devchain: Devchain, change: (draft: Draft) => void): Promise<Uint8Array> {
  return changedBlock(await nextBlock(devchain), change);
}

/** Pays a coin to the foreign wallet, less a fee. */
function pay(coin: ForeignCoin, feeSats = 1_000n, change: Parameters<typeof unsigned>[2] = {}) {
  const valueSats = coin.output.valueSats - feeSats;
  return wallet.sign(unsigned([coin], [{ valueSats, scriptPubkey: wallet.p2tr }], change), [coin]);
}

function broken(
  rule: string,
  reason: string,
  change: (draft: Draft, material: Material, bench: Bench) => void,
): BrokenBlock {
  return {
    rule,
    reason,
    make: (bench, material) => onTip(bench.devchain, (draft) => change(draft, material, bench)),
  };
}

/** Every consensus rule that the devchain holds, broken once. */
export const BROKEN_BLOCKS: readonly BrokenBlock[] = [
  {
    rule: 'one bit of the coinbase flipped, nothing else done',
    reason: 'bad-txnmrklroot',
    async make({ devchain }) {
      const raw = await nextBlock(devchain);
      const at = raw.length - 5;
      raw[at - 40] = (raw[at - 40] ?? 0) ^ 1;
      return raw;
    },
  },
  broken('proof of work: hash above the target', 'high-hash', (draft) => {
    draft.fixWork = false;
    draft.header.bits = 0x1d00ffff;
  }),
  broken('proof of work: target above the limit', 'high-hash', (draft) => {
    draft.header.bits = 0x2100ffff;
  }),
  broken('bits of another difficulty', 'bad-diffbits', (draft) => {
    // Nearly regtest's target, so that the hash found meets it in one try of two.
    draft.header.bits = 0x207ffffe;
  }),
  broken('parent unknown', 'prev-blk-not-found', (draft) => {
    draft.header.previousHash = new Uint8Array(32).fill(7);
  }),
  broken('merkle root of other transactions', 'bad-txnmrklroot', (draft) => {
    draft.fixMerkleRoot = false;
    draft.header.merkleRoot = new Uint8Array(32).fill(7);
  }),
  broken('last transaction repeated (CVE-2012-2459)', 'bad-txns-duplicate', (draft, { taproot, keyHash }) => {
    const last = pay(keyHash);
    draft.transactions.push(pay(taproot), last, last);
    // Three transactions and four of which the last two are alike have the same root.
  }),
  broken('no transactions', 'bad-blk-length', (draft) => {
    draft.transactions.length = 0;
  }),
  broken('first transaction is no coinbase', 'bad-cb-missing', (draft, { taproot }) => {
    draft.fixCommitment = false;
    draft.transactions.splice(0, 1, pay(taproot));
  }),
  broken('two coinbases', 'bad-cb-multiple', (draft) => {
    const second = structuredClone(coinbaseOf(draft));
    second.lockTime = 1;
    draft.transactions.push(second);
  }),
  broken('coinbase script of 101 bytes', 'bad-cb-length', (draft) => {
    const [input] = coinbaseOf(draft).inputs;
    if (input !== undefined)
      input.scriptSig = Uint8Array.of(...input.scriptSig, ...new Uint8Array(101 - input.scriptSig.length));
  }),
  broken('height missing from the coinbase (BIP 34)', 'bad-cb-height', (draft, _material, { devchain }) => {
    const [input] = coinbaseOf(draft).inputs;
    if (input !== undefined) input.scriptSig = Uint8Array.of(...pushNumber(devchain.control.height()), 1, 2, 3);
  }),
  broken('block version 3 (BIP 65)', 'bad-version(0x00000003)', (draft) => {
    draft.header.version = 3;
  }),
  broken('time not after the median of eleven', 'time-too-old', (draft, _material, { clock }) => {
    draft.header.timeUnixS = Math.floor(clock.unixMs() / 1000) - 86_400;
  }),
  broken('coinbase takes a satoshi too much', 'bad-cb-amount', (draft, _material, { devchain }) => {
    const [output] = coinbaseOf(draft).outputs;
    if (output !== undefined) output.valueSats = subsidyAt(devchain.control.height() + 1) + 1n;
  }),
  broken('witness commitment of other witnesses', 'bad-witness-merkle-match', (draft) => {
    draft.fixCommitment = false;
    const commitment = coinbaseOf(draft).outputs.at(-1);
    if (commitment !== undefined) commitment.scriptPubkey = commitment.scriptPubkey.with(20, 0xaa).with(21, 0xaa);
  }),
  broken('reserved value of 31 bytes', 'bad-witness-nonce-size', (draft) => {
    const [input] = coinbaseOf(draft).inputs;
    if (input !== undefined) input.witness = [new Uint8Array(31)];
  }),
  broken('witness without commitment', 'unexpected-witness', (draft, { taproot }) => {
    draft.fixCommitment = false;
    coinbaseOf(draft).outputs.pop();
    draft.transactions.push(pay(taproot));
  }),
  broken('heavier than 4,000,000 weight units', 'bad-blk-weight', (draft, { taproot }) => {
    const heavy = pay(taproot);
    const [input] = heavy.inputs;
    // Only the witness grows: the size without it stays small.
    if (input !== undefined) input.witness = [new Uint8Array(3_999_000)];
    draft.transactions.push(heavy);
  }),
  broken('more signature operations than 80,000', 'bad-blk-sigops', (draft) => {
    coinbaseOf(draft).outputs.unshift({ valueSats: 0n, scriptPubkey: new Uint8Array(20_001).fill(0xac) });
  }),
  broken('transaction without outputs', 'bad-txns-vout-empty', (draft, { taproot }) => {
    draft.transactions.push(wallet.sign(unsigned([taproot], []), [taproot]));
  }),
  broken('output of a negative amount', 'bad-txns-vout-negative', (draft, { taproot }) => {
    const outputs = [{ valueSats: (1n << 64n) - 1n, scriptPubkey: wallet.p2tr }];
    draft.transactions.push(wallet.sign(unsigned([taproot], outputs), [taproot]));
  }),
  broken('output above 21 million bitcoin', 'bad-txns-vout-toolarge', (draft, { taproot }) => {
    const outputs = [{ valueSats: 2_100_000_000_000_001n, scriptPubkey: wallet.p2tr }];
    draft.transactions.push(wallet.sign(unsigned([taproot], outputs), [taproot]));
  }),
  broken('outputs above 21 million bitcoin together', 'bad-txns-txouttotal-toolarge', (draft, { taproot }) => {
    const output = { valueSats: 2_000_000_000_000_000n, scriptPubkey: wallet.p2tr };
    draft.transactions.push(wallet.sign(unsigned([taproot], [output, output]), [taproot]));
  }),
  broken('one output spent twice by one transaction', 'bad-txns-inputs-duplicate', (draft, { taproot }) => {
    const coins = [taproot, taproot];
    const outputs = [{ valueSats: taproot.output.valueSats, scriptPubkey: wallet.p2tr }];
    draft.transactions.push(wallet.sign(unsigned(coins, outputs), coins));
  }),
  broken('empty outpoint outside the coinbase', 'bad-txns-prevout-null', (draft, { taproot }) => {
    const nothing = { ...taproot, txid: new Uint8Array(32), index: 0xffff_ffff };
    const coins = [taproot, nothing];
    draft.transactions.push(wallet.sign(unsigned(coins, [{ valueSats: 1n, scriptPubkey: wallet.p2tr }]), coins));
  }),
  broken('one output spent twice in the block', 'bad-txns-inputs-missingorspent', (draft, { taproot }) => {
    draft.transactions.push(pay(taproot, 1_000n), pay(taproot, 2_000n));
  }),
  broken('output that does not exist', 'bad-txns-inputs-missingorspent', (draft, { taproot }) => {
    draft.transactions.push(pay({ ...taproot, index: 9 }));
  }),
  broken('child before its parent', 'bad-txns-inputs-missingorspent', (draft, { taproot }) => {
    const parent = pay(taproot);
    draft.transactions.push(pay(coinOf(rawOf(parent), 0)), parent);
  }),
  broken('outputs worth more than inputs', 'bad-txns-in-belowout', (draft, { taproot }) => {
    draft.transactions.push(pay(taproot, -1n));
  }),
  {
    rule: 'coinbase spent after 99 blocks',
    reason: 'bad-txns-premature-spend-of-coinbase',
    async make({ devchain }) {
      const { chain } = groups(devchain);
      const hash = await chain.getHash(devchain.control.height() - 98, never);
      const { raw } = await chain.getBlock(hash, never);
      return onTip(devchain, (draft) => {
        const { transactions } = changedDraft(raw);
        const [coinbase] = transactions;
        if (coinbase === undefined) throw new Error('no coinbase');
        draft.transactions.push(pay(coinOf(rawOf(coinbase), 0)));
      });
    },
  },
  broken('lock time not reached', 'bad-txns-nonfinal', (draft, { taproot }, { devchain }) => {
    draft.transactions.push(pay(taproot, 1_000n, { lockTime: devchain.control.height() + 1 }));
  }),
  broken('lock time in seconds not reached', 'bad-txns-nonfinal', (draft, { taproot }, { clock }) => {
    draft.transactions.push(pay(taproot, 1_000n, { lockTime: Math.floor(clock.unixMs() / 1000) + 3_600 }));
  }),
  broken('relative lock of blocks not reached (BIP 68)', 'bad-txns-nonfinal', (draft, { taproot }) => {
    draft.transactions.push(pay(taproot, 1_000n, { sequence: 50 }));
  }),
  broken('relative lock of seconds not reached (BIP 68)', 'bad-txns-nonfinal', (draft, { taproot }) => {
    draft.transactions.push(pay(taproot, 1_000n, { sequence: 0x0040_0000 | 50 }));
  }),
  broken('taproot signature with a bit flipped', 'block-script-verify-flag-failed', (draft, { taproot }) => {
    draft.transactions.push(withWitness(pay(taproot), ([signature = empty]) => [flipped(signature)]));
  }),
  broken('taproot signature of another transaction', 'block-script-verify-flag-failed', (draft, { taproot }) => {
    const other = pay(taproot, 5_000n).inputs[0]?.witness ?? [];
    draft.transactions.push(withWitness(pay(taproot), () => other));
  }),
  broken('taproot signature of 63 bytes', 'block-script-verify-flag-failed', (draft, { taproot }) => {
    draft.transactions.push(withWitness(pay(taproot), ([signature = empty]) => [signature.subarray(0, 63)]));
  }),
  broken('taproot hash type 4', 'block-script-verify-flag-failed', (draft, { taproot }) => {
    draft.transactions.push(withWitness(pay(taproot), ([s = empty]) => [Uint8Array.of(...s.subarray(0, 64), 4)]));
  }),
  broken('taproot default type written out', 'block-script-verify-flag-failed', (draft, { taproot }) => {
    draft.transactions.push(withWitness(pay(taproot), ([s = empty]) => [Uint8Array.of(...s.subarray(0, 64), 0)]));
  }),
  broken('no witness for a taproot output', 'block-script-verify-flag-failed', (draft, { taproot }) => {
    draft.transactions.push(withWitness(pay(taproot), () => []));
  }),
  broken('script for a taproot output', 'block-script-verify-flag-failed', (draft, { taproot }) => {
    const transaction = pay(taproot);
    const [input] = transaction.inputs;
    if (input !== undefined) input.scriptSig = Uint8Array.of(0x51);
    draft.transactions.push(transaction);
  }),
  broken('ECDSA signature with a bit flipped', 'block-script-verify-flag-failed', (draft, { keyHash }) => {
    draft.transactions.push(withWitness(pay(keyHash), ([s = empty, key = empty]) => [flipped(s), key]));
  }),
  broken('ECDSA signature with another hash type', 'block-script-verify-flag-failed', (draft, { keyHash }) => {
    draft.transactions.push(withWitness(pay(keyHash), ([s = empty, key = empty]) => [s.with(-1, 3), key]));
  }),
  broken('ECDSA signature not strictly encoded (BIP 66)', 'block-script-verify-flag-failed', (draft, { keyHash }) => {
    const padded = (s: Uint8Array): Uint8Array => {
      const r = s.subarray(4, 4 + (s[3] ?? 0));
      return Uint8Array.of(0x30, (s[1] ?? 0) + 1, 2, r.length + 1, 0, ...r, ...s.subarray(4 + r.length));
    };
    draft.transactions.push(withWitness(pay(keyHash), ([s = empty, key = empty]) => [padded(padded(s)), key]));
  }),
  broken('key of another hash', 'block-script-verify-flag-failed', (draft, { keyHash }) => {
    const { publicKey } = createForeignWallet(6);
    draft.transactions.push(withWitness(pay(keyHash), ([signature = empty]) => [signature, publicKey]));
  }),
  broken('three items in a P2WPKH witness', 'block-script-verify-flag-failed', (draft, { keyHash }) => {
    draft.transactions.push(withWitness(pay(keyHash), (stack) => [...stack, Uint8Array.of(1)]));
  }),
  broken('empty ECDSA signature', 'block-script-verify-flag-failed', (draft, { keyHash }) => {
    draft.transactions.push(withWitness(pay(keyHash), ([, key = empty]) => [empty, key]));
  }),
  broken(
    'amount of the spent output signed wrongly (BIP 143)',
    'block-script-verify-flag-failed',
    (draft, { keyHash }) => {
      const lied = { ...keyHash, output: { ...keyHash.output, valueSats: keyHash.output.valueSats - 1n } };
      draft.transactions.push(pay(lied));
    },
  ),
];

function changedDraft(raw: Uint8Array): Draft {
  let taken: Draft | undefined;
  changedBlock(raw, (draft) => {
    taken = draft;
  });
  if (taken === undefined) throw new Error('no draft');
  return taken;
}

function withWitness(
  transaction: ReturnType<typeof pay>,
  change: (stack: Uint8Array[]) => Uint8Array[],
): ReturnType<typeof pay> {
  const copy = parseTransaction(rawOf(transaction));
  for (const input of copy.inputs) input.witness = change(input.witness);
  return copy;
}

function flipped(bytes: Uint8Array): Uint8Array {
  return bytes.with(20, (bytes[20] ?? 0) ^ 1);
}
