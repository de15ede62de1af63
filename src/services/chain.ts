import { BlockFormat } from '../../gen/ts/modhost/v1/bitcoin.js';
import { type ChainServiceService, SyncPhase } from '../../gen/ts/modhost/v1/chain.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import type { NodeApi, SyncState } from '../node/node-api.js';
import { atTip } from './at-tip.js';
import { streamBlocks, streamHeaders } from './chain-stream.js';
import { createTransactionReads } from './chain-transactions.js';
import { MAX_HEIGHT, requireHash, requireKnown } from './check.js';
import { toHeader } from './decoded.js';

const PHASES: Readonly<Record<SyncState['phase'], SyncPhase>> = {
  headers: SyncPhase.HEADERS,
  blocks: SyncPhase.BLOCKS,
  synced: SyncPhase.SYNCED,
  stalled: SyncPhase.STALLED,
};

type Body = { $case: 'raw' | 'header'; value: Uint8Array };

/** Answers reads of the chain. @param deps.node the port, budgeted for one module */
export function createChainService({ node }: { node: NodeApi }): ServiceImpl<typeof ChainServiceService> {
  const { chain } = node;
  const readBlock = async (hash: Uint8Array, format: BlockFormat, signal: AbortSignal) => {
    const body = format === BlockFormat.HEADER ? undefined : chain.getBlock(hash, signal);
    // Both are awaited together; whichever fails first is the answer.
    const [at, block] = await Promise.all([chain.getHeader(hash, signal), body]);
    const value: Body =
      block === undefined ? { $case: 'header', value: at.header } : { $case: 'raw', value: block.raw };
    return { hash: at.hash, height: at.height, confirmations: at.confirmations, body: value };
  };

  return {
    async getBlock({ hash, format }, { signal }) {
      return readBlock(requireHash(hash, 'hash'), blockFormat(format), signal);
    },
    async getBlockByHeight({ height, format, atTip: tip }, { signal }) {
      const wanted = blockFormat(format);
      if (height > MAX_HEIGHT) throw new HostError('NO_CHAIN_HEIGHT', `height ${height} is above the tip`);
      return atTip(node, tip, signal, async () => readBlock(await chain.getHash(height, signal), wanted, signal));
    },
    async getBlockHeader({ hash, atTip: tip }, { signal }) {
      const wanted = requireHash(hash, 'hash');
      const header = await atTip(node, tip, signal, () => chain.getHeader(wanted, signal));
      return { header: toHeader(header) };
    },
    ...createTransactionReads(node),
    streamBlocks: (request, { signal }) => streamBlocks(node, request, signal),
    streamHeaders: (request, { signal }) => streamHeaders(node, request, signal),
    async getChainTip(_request, { signal }) {
      const { tip } = await chain.getState(signal);
      return { hash: tip.hash, height: tip.height };
    },
    async getBlockHeight(_request, { signal }) {
      return { height: (await chain.getState(signal)).tip.height };
    },
    async getChainInfo({ atTip: tip }, { signal }) {
      return atTip(node, tip, signal, async () => {
        const [state, sync] = await Promise.all([chain.getState(signal), chain.getSync(signal)]);
        return { ...state, synced: sync.phase === 'synced' };
      });
    },
    async getSyncStatus(_request, { signal }) {
      const { phase, ...rest } = await chain.getSync(signal);
      return { ...rest, phase: PHASES[phase] };
    },
  };
}

function blockFormat(value: number): BlockFormat {
  const { UNSPECIFIED, RAW, HEADER } = BlockFormat;
  return requireKnown(value, [UNSPECIFIED, RAW, HEADER], 'format') || RAW;
}
