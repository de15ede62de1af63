import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashFromDisplay, hashToDisplay, toHex } from '../../src/core/bytes.js';
import { requireToolchain } from '../toolchain.js';
import { type Btcd, btcdAvailable, startBtcd } from './btcd.js';
import { createWallet } from './wallet.js';

const btcd = requireToolchain('btcd', await btcdAvailable());

describe.skipIf(btcd.skip)('a real btcd on regtest', () => {
  const wallet = createWallet(new Uint8Array(32).fill(7));
  let dir: string;
  let node: Btcd;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'modhost-btcd-'));
    node = await startBtcd({ dir, tls: true, miningAddress: wallet.address });
  });
  afterAll(async () => {
    await node?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('mines, and forks on invalidateblock, over TLS', async () => {
    const mined = await node.rpc<string[]>('generate', [5]);
    await node.rpc('invalidateblock', [mined[2]]);
    expect(await node.rpc('getblockcount')).toBe(2);
    const other = await node.rpc<string[]>('generate', [4]);
    expect(await node.rpc('getbestblockhash')).toBe(other[3]);
    // The branch is known again, but has less work.
    await node.rpc('reconsiderblock', [mined[2]]);
    expect(await node.rpc('getbestblockhash')).toBe(other[3]);
  });

  it('accepts what the wallet signs, and mines it', async () => {
    const [first] = await node.rpc<string[]>('generate', [101]);
    const block = await node.rpc<{ tx: string[] }>('getblock', [first, 1]);
    const coinbase = hashFromDisplay(block.tx[0] ?? '');
    if (coinbase === undefined) throw new Error('btcd named no coinbase');
    const spend = wallet.spend({ txid: coinbase, index: 0, valueSats: 5_000_000_000n }, { feeSats: 1_000n });
    expect(await node.rpc('sendrawtransaction', [toHex(spend.raw)])).toBe(hashToDisplay(spend.txid));
    const [next] = await node.rpc<string[]>('generate', [1]);
    const holder = await node.rpc<{ tx: string[] }>('getblock', [next, 1]);
    expect(holder.tx).toContain(hashToDisplay(spend.txid));
  });

  it('keeps its chain over kill -9 and restart', async () => {
    const before = await node.rpc('getbestblockhash');
    await node.kill9();
    await expect(fetch(node.url)).rejects.toThrow();
    await node.start();
    expect(await node.rpc('getbestblockhash')).toBe(before);
    await node.restart();
    expect(await node.rpc('getbestblockhash')).toBe(before);
    expect(await node.rpc('getblockcount')).toBeGreaterThan(100);
  });
});
