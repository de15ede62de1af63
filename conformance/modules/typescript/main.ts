import { join } from 'node:path';
import {
  type BlockConnected,
  BlockFormat,
  type ChainChange,
  HealthStatus,
  hashToDisplay,
  ModhostError,
  type Module,
  parseBlock,
  previousHashOf,
  runModule,
  withRetry,
} from '../../../src/sdk/index.js';
import { type Journal, openJournal } from './journal.js';

/** Version of module.toml; the host compares the two. */
const VERSION = '0.1.0';
/** Coinbase reward of the first blocks, satoshis. */
const FIRST_SUBSIDY_SATS = 5_000_000_000n;

/** What a health check is told. */
const told = { position: 'not started' };
const handlers = {
  health: () => ({ status: HealthStatus.HEALTHY, message: told.position }),
  stop: () => void process.stdout.write('asked to stop\n'),
};

// the wish to stop and SIGTERM fire the signal, which ends the iteration below
await runModule({ version: VERSION, handlers }, async (module, signal) => {
  const journal = openJournal(join(module.dataDir, 'journal.jsonl'));
  const changes = await follow(module, journal, signal);
  const mempool = createMempoolSummary(module);
  const timer = setInterval(() => void mempool.tell(), Number(module.config.summary_interval_s) * 1_000);
  // From here on the module counts as running.
  await module.ready();
  try {
    for await (const change of changes) {
      if (change.kind === 'event' && change.event.payload?.$case === 'newTransaction') mempool.arrived(1n);
      else if (change.kind === 'gap') mempool.arrived(change.gap.count);
      else await handle(module, journal, change, signal);
      if ('cursor' in change) told.position = `at height ${change.cursor[0]?.height}`;
    }
  } finally {
    clearInterval(timer);
  }
});

/** Goes on where the journal ends; a new module begins at the tip. */
async function follow(module: Module, journal: Journal, signal: AbortSignal) {
  for (;;) {
    if (journal.cursor.length === 0) journal.start(await withRetry(() => module.chain.getChainTip(), { signal }));
    try {
      return await module.follow({ cursor: journal.cursor, types: ['NEW_TRANSACTION'], signal });
    } catch (error) {
      if (ModhostError.from(error).reason !== 'CURSOR_UNKNOWN') throw error;
      module.log.warn('the node is on another chain than before; the old journal is put aside');
      journal.setAside();
    }
  }
}

/** Handles one change of the chain: look first, write the journal last. */
async function handle(module: Module, journal: Journal, change: ChainChange, signal: AbortSignal): Promise<void> {
  switch (change.kind) {
    case 'connect': {
      const facts = await describe(module, change, signal);
      journal.connected(change);
      module.log.info(`connected height=${change.height} hash=${hashToDisplay(change.hash)} ${facts}`);
      return;
    }
    case 'disconnect':
      journal.disconnected(change, previousHashOf(change.header));
      module.log.warn(`disconnected height=${change.height} hash=${hashToDisplay(change.hash)}`);
      return;
    case 'rollback':
      journal.rolledBack(change.to);
      module.log.warn(`rolled back height=${change.to.height} hash=${hashToDisplay(change.to.hash)}`);
      return;
    case 'live':
      module.log.info(`at the tip height=${change.cursor[0]?.height}`);
      return;
    default:
      return;
  }
}

/** What the block holds. The block itself is fetched: events tell no fees. */
async function describe(module: Module, block: BlockConnected, signal: AbortSignal): Promise<string> {
  try {
    const ask = { hash: block.hash, format: BlockFormat.RAW };
    const { body } = await withRetry(() => module.chain.getBlock(ask, { signal }), { signal });
    if (body?.$case !== 'raw') return `txs=${block.txCount}`;
    const { transactions } = parseBlock(body.value);
    const paid = (transactions[0]?.outputs ?? []).reduce((sum, { valueSats }) => sum + valueSats, 0n);
    const fees = paid - subsidyAt(block.height, module.context.network);
    return `txs=${transactions.length} bytes=${body.value.byteLength} fees=${fees > 0n ? fees : 0n}sat`;
  } catch (thrown) {
    const { reason } = ModhostError.from(thrown);
    // a pruned node has deleted the body, another may have lost a stale block
    if (reason === 'BLOCK_PRUNED' || reason === 'BLOCK_NOT_FOUND') return `txs=${block.txCount} body=${reason}`;
    throw thrown;
  }
}

/** Reward without fees: it halves every 210,000 blocks, on regtest every 150. */
function subsidyAt(height: number, network: string): bigint {
  const halvings = Math.floor(height / (network === 'regtest' ? 150 : 210_000));
  return halvings >= 64 ? 0n : FIRST_SUBSIDY_SATS >> BigInt(halvings);
}

/** Counts arrivals and tells them now and then, with the state of the mempool. */
function createMempoolSummary(module: Module) {
  let arrived = 0n;
  return {
    arrived(count: bigint): void {
      arrived += count;
    },
    async tell(): Promise<void> {
      try {
        const size = await module.mempool.getSize();
        const fees = size.totalFeeKnown ? ` fees=${size.totalFeeSats}sat` : '';
        module.log.info(`mempool txs=${size.transactionCount} vbytes=${size.vbytes}${fees} arrived=${arrived}`);
        arrived = 0n;
      } catch (error) {
        module.log.warn(`mempool ${ModhostError.from(error).reason}`);
      }
    },
  };
}
