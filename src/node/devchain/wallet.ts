import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from '../../contract/error.js';
import type { Transaction, TransactionOutput } from '../../core/bitcoin/transaction.js';
import { fromHex, toHex } from '../../core/bytes.js';
import type { Logger } from '../../core/logger.js';
import { ecdsaKey, taggedHash, taprootKey } from './keys.js';
import { hash160, keyHashScriptCode, scriptKind, taprootScript, witnessKeyHashScript } from './script.js';
import { createSighashSource, SIGHASH_ALL, SIGHASH_DEFAULT } from './sighash.js';

/** Bytes of a wallet seed. */
export const SEED_BYTES = 32;

/** Name of the seed's file in the data directory. */
export const SEED_FILE = 'wallet.seed';

/** The devchain's own keys. Its coins exist on this chain alone and are worth nothing. */
export interface Wallet {
  /** Where coinbases pay to: a taproot key without scripts. */
  readonly taprootScript: Uint8Array;
  /** A P2WPKH script of the same wallet. */
  readonly keyHashScript: Uint8Array;
  /** Fills in the witnesses of inputs that spend the wallet's own outputs. @param spent in the order of the inputs */
  sign(transaction: Transaction, spent: readonly TransactionOutput[]): Transaction;
}

/** Makes the wallet of a seed; the same seed gives the same keys. @param random gives 32 bytes per taproot signature */
export function createWallet(seed: Uint8Array, random: (bytes: number) => Uint8Array): Wallet {
  // A tagged hash is a valid secret but for one case in 2^128; the library throws on that one.
  const taproot = taprootKey(taggedHash('modhost/devchain/taproot', seed));
  const ecdsa = ecdsaKey(taggedHash('modhost/devchain/p2wpkh', seed));
  const keyHash = hash160(ecdsa.publicKey);
  return {
    taprootScript: taprootScript(taproot.outputKey),
    keyHashScript: witnessKeyHashScript(ecdsa.publicKey),
    sign(transaction, spent) {
      const sighash = createSighashSource(transaction, spent);
      const inputs = transaction.inputs.map((input, index) => {
        const kind = scriptKind(spent[index]?.scriptPubkey ?? new Uint8Array(0));
        if (kind === 'p2wpkh') {
          const signature = ecdsa.sign(sighash.witnessV0(index, keyHashScriptCode(keyHash), SIGHASH_ALL));
          return { ...input, witness: [Uint8Array.of(...signature, SIGHASH_ALL), ecdsa.publicKey] };
        }
        const message = sighash.taproot(index, SIGHASH_DEFAULT, undefined) ?? new Uint8Array(32);
        return { ...input, witness: [taproot.sign(message, random(32))] };
      });
      return { ...transaction, inputs };
    },
  };
}

/**
 * Reads the seed kept in the data directory, or makes one and keeps it, readable by its owner only. A looser mode is
 * tightened, and the log says so.
 *
 * @throws DATA_CORRUPT when the file holds no seed; UNSAFE_DATA_DIR when it is a link; NODE_UNAVAILABLE
 */
export async function loadSeed(
  directory: string,
  random: (bytes: number) => Uint8Array,
  logger: Logger,
): Promise<Uint8Array> {
  const path = join(directory, SEED_FILE);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const present = await lstat(path).catch(() => undefined);
    if (present === undefined) return await makeSeed(path, random(SEED_BYTES));
    if (!present.isFile()) throw new HostError('UNSAFE_DATA_DIR', `${path} is no plain file; remove it`);
    if ((present.mode & 0o077) !== 0) {
      logger.warn({ path }, 'the wallet seed could be read by others; its mode is 0600 now');
      await chmod(path, 0o600);
    }
    const seed = fromHex((await readFile(path, 'ascii')).trim());
    if (seed?.byteLength === SEED_BYTES) return seed;
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError('NODE_UNAVAILABLE', `cannot read or write ${path}`, { cause: error });
  }
  throw new HostError('DATA_CORRUPT', `${path} holds no seed; move it away, and a new one is made`, {
    details: { path },
  });
}

async function makeSeed(path: string, seed: Uint8Array): Promise<Uint8Array> {
  // Written beside and renamed: a crash leaves the whole file or none.
  const draft = `${path}.new`;
  const file = await open(
    draft,
    constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    await file.writeFile(`${toHex(seed)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  return seed;
}
