import type { NodeApiSubject, SignedTransaction, SpendRequest } from '../../conformance/node-api/subject.js';
import { parseTransaction, txid } from '../../src/core/bitcoin/transaction.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createDevchain, type Devchain } from '../../src/node/devchain/devchain.js';
import { createWallet } from '../interop/wallet.js';

/** Fee of a child transaction, satoshis: some satoshis per byte of its 110. */
const CHILD_FEE_SATS = 1_000n;
/** OP_RETURN with four bytes. */
const BURN_SCRIPT = Uint8Array.of(0x6a, 0x04, 0x62, 0x75, 0x72, 0x6e);

/** A devchain in memory, not started. */
export function createTestDevchain(): Devchain {
  return createDevchain({ clock: createSystemClock(), logger: createSilentLogger() });
}

/** Makes the transactions that the suite asks for. Children are signed by a wallet that shares no code with devchain's. */
export function createDevchainSpender(devchain: Devchain): NodeApiSubject['spend'] {
  const wallet = createWallet(new Uint8Array(32).fill(9));
  return async (request: SpendRequest = {}): Promise<SignedTransaction> => {
    if (request.parent !== undefined) {
      const [output] = parseTransaction(request.parent.raw).outputs;
      if (output === undefined) throw new Error('the parent has no outputs');
      const coin = { txid: request.parent.txid, index: 0, valueSats: output.valueSats };
      return wallet.spend(coin, { feeSats: CHILD_FEE_SATS });
    }
    const scriptPubkey = request.burn === true ? BURN_SCRIPT : wallet.scriptPubkey;
    const raw = await devchain.control.createSpend({ scriptPubkey });
    if (raw === undefined) throw new Error('the devchain has no matured coin left');
    return { raw, txid: txid(parseTransaction(raw)) };
  };
}

/** A subject over a devchain of its own. */
export async function createDevchainSubject(): Promise<NodeApiSubject> {
  const devchain = createTestDevchain();
  return {
    node: devchain,
    mine: async (count) => await devchain.control.mine(count),
    reorg: async (depth) => (await devchain.control.reorg(depth)).connected,
    spend: createDevchainSpender(devchain),
    dispose: async () => await devchain.stop(),
  };
}
