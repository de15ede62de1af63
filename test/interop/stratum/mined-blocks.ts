/** Blocks as the node has them, read by our own parser. */
import { type Block, parseBlock } from '../../../src/core/bitcoin/block.js';
import { fromHex, toHex } from '../../../src/core/bytes.js';
import { type Engine, startEngine } from '../../oracle/engine.js';
import type { Btcd } from '../btcd.js';

/** One block of the active chain. */
export interface MinedBlock {
  height: number;
  /** Display order. */
  hash: string;
  raw: Uint8Array;
  block: Block;
  /** Script of the coinbase's input, bytes as Latin-1 text: tags can be looked for in it. */
  coinbaseText: string;
  /** Outputs of the coinbase: script in hex, satoshis. */
  outputs: { script: string; valueSats: bigint }[];
}

/** Blocks of the active chain from one height to the tip. */
export async function blocksFrom(btcd: Btcd, first: number): Promise<MinedBlock[]> {
  const tip = await btcd.rpc<number>('getblockcount');
  const blocks: MinedBlock[] = [];
  for (let height = first; height <= tip; height += 1) {
    const hash = await btcd.rpc<string>('getblockhash', [height]);
    const raw = fromHex(await btcd.rpc<string>('getblock', [hash, 0]));
    if (raw === undefined) throw new Error('btcd gave a block that is no hex');
    const block = parseBlock(raw);
    const coinbase = block.transactions[0];
    blocks.push({
      ...{ height, hash, raw, block },
      coinbaseText: Buffer.from(coinbase?.inputs[0]?.scriptSig ?? []).toString('latin1'),
      outputs: (coinbase?.outputs ?? []).map((output) => ({
        script: toHex(output.scriptPubkey),
        valueSats: output.valueSats,
      })),
    });
  }
  return blocks;
}

/** Has Bitcoin Core's engine judge the whole chain; gives what it refused. */
export async function judgeChain(blocks: readonly MinedBlock[]): Promise<string[]> {
  const engine: Engine = await startEngine();
  try {
    const refusals: string[] = [];
    for (const { height, hash, raw } of blocks) {
      const verdict = await engine.judge(raw);
      if (!verdict.accepted) refusals.push(`${height} ${hash}: ${verdict.result}`);
    }
    return refusals;
  } finally {
    await engine.close();
  }
}
