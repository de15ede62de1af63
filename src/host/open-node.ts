import { z } from 'zod';
import type { DevchainAct } from '../admin/host-control.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { nearest } from '../core/nearest.js';
import type { NodeKind } from '../manifest/operator.js';
import { createBitcoindNode } from '../node/bitcoind/node.js';
import { bitcoindOptionsSchema } from '../node/bitcoind/options.js';
import { createBtcdNode } from '../node/btcd/node.js';
import { btcdOptionsSchema } from '../node/btcd/options.js';
import { createDevchain } from '../node/devchain/devchain.js';
import type { NodeApi } from '../node/node-api.js';

/** Longest time between two blocks of the devchain, milliseconds: an hour. */
const MAX_BLOCK_INTERVAL_MS = 3_600_000;
/** Transactions in front of each block: more than its own coins ever mature. */
const MAX_ACTIVITY = 100;
/** Blocks made before the first event: some seconds of work. */
const MAX_PREMINE = 10_000;
/** One bitcoin per kvB, beyond any relay floor. */
const MAX_RELAY_RATE = 100_000_000;

/** The operator's `[node]` table for `kind = "devchain"`, without `kind`. */
const devchainOptionsSchema = z.strictObject({
  block_interval_ms: z.number().int().min(0).max(MAX_BLOCK_INTERVAL_MS).optional(),
  transactions_per_block: z.number().int().min(0).max(MAX_ACTIVITY).optional(),
  premine_blocks: z.number().int().min(0).max(MAX_PREMINE).optional(),
  min_relay_sat_per_kvb: z.number().int().min(0).max(MAX_RELAY_RATE).optional(),
  persist: z.boolean().default(true),
});

const SCHEMAS = {
  devchain: devchainOptionsSchema,
  bitcoind: bitcoindOptionsSchema,
  btcd: btcdOptionsSchema,
} as const;

/** Keys that the adapters know, for messages and for the flags that set them. */
const KEYS: Readonly<Record<NodeKind, readonly string[]>> = {
  devchain: Object.keys(devchainOptionsSchema.shape),
  bitcoind: Object.keys(bitcoindOptionsSchema.in.shape),
  btcd: Object.keys(btcdOptionsSchema.in.shape),
};

/** Which node, and what its adapter is told. */
export interface NodeChoice {
  kind: NodeKind;
  /** Keys of `[node]` beside `kind`, snake_case. */
  table: Readonly<Record<string, unknown>>;
  /** Refuses one key at the place where the operator wrote it. */
  fail(path: readonly PropertyKey[], text: string): never;
}

/** A node that is made and not started, with its handles. */
export interface OpenedNode {
  node: NodeApi;
  /** Set when the node is the embedded devchain. */
  devchain: DevchainAct | undefined;
}

/** What an adapter needs of the house. */
export interface NodeSurroundings {
  clock: Clock;
  logger: Logger;
  /** Directory for the devchain's blocks. */
  dataDir: string;
}

/**
 * Checks `[node]` by the adapter's own rules.
 *
 * @throws HostError BAD_CONFIG by way of `choice.fail`
 */
export function checkNodeTable(choice: NodeChoice): void {
  readTable(choice, choice.kind);
}

/**
 * Makes the node that the operator chose. Nothing is opened before its `start`.
 *
 * @throws HostError BAD_CONFIG by way of `choice.fail`, or of the adapter
 */
export function openNode(choice: NodeChoice, { clock, logger, dataDir }: NodeSurroundings): OpenedNode {
  const context = { clock, logger, random: Math.random };
  switch (choice.kind) {
    case 'bitcoind':
      return { node: createBitcoindNode(readTable(choice, 'bitcoind'), context), devchain: undefined };
    case 'btcd':
      return { node: createBtcdNode(readTable(choice, 'btcd'), context), devchain: undefined };
    case 'devchain': {
      const table = readTable(choice, 'devchain');
      const perBlock = table.transactions_per_block ?? 0;
      const devchain = createDevchain({
        clock,
        logger,
        dataDir: table.persist ? dataDir : undefined,
        blockIntervalMs: table.block_interval_ms,
        premineBlocks: table.premine_blocks,
        activity: perBlock === 0 ? undefined : { transactionsPerBlock: perBlock },
        minRelaySatPerKvb: table.min_relay_sat_per_kvb === undefined ? undefined : BigInt(table.min_relay_sat_per_kvb),
      });
      return { node: devchain, devchain: devchain.control };
    }
  }
}

function readTable<K extends NodeKind>(choice: NodeChoice, kind: K): z.output<(typeof SCHEMAS)[K]> {
  const read = SCHEMAS[kind].safeParse(choice.table);
  if (read.success) return read.data as z.output<(typeof SCHEMAS)[K]>;
  const [issue] = read.error.issues;
  const path = issue?.path ?? [];
  if (issue?.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const near = path.length === 0 ? nearest(key, KEYS[kind]) : undefined;
    const hint = near === undefined ? `known are ${KEYS[kind].join(', ')}` : `did you mean '${near}'?`;
    return choice.fail([...path, key], `is not known for kind = '${kind}'; ${hint}`);
  }
  if (issue?.code === 'invalid_type' && !(String(path[0]) in choice.table)) {
    return choice.fail(path, `is required for kind = '${kind}'`);
  }
  return choice.fail(path, wordsOf(issue));
}

/** What is expected, in the words of the file; never the value that was found. */
function wordsOf(issue: z.core.$ZodIssue | undefined): string {
  switch (issue?.code) {
    case 'invalid_type':
      return `must be ${issue.expected === 'int' ? 'a whole number' : `a ${issue.expected}`}`;
    case 'too_small':
      return `must be at least ${issue.minimum}`;
    case 'too_big':
      return `must be at most ${issue.maximum}`;
    case 'invalid_value':
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
    case 'invalid_union':
      return 'has a form that is not accepted here';
    default:
      return issue?.message ?? 'is not accepted';
  }
}
