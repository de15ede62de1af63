import type { NodeApi, NodeFeature } from '../../src/node/node-api.js';

/** A signed transaction that the node has not seen. */
export interface SignedTransaction {
  /** Serialised with witness (BIP 144). */
  raw: Uint8Array;
  /** 32 bytes, internal byte order. */
  txid: Uint8Array;
}

/** What kind of transaction a case asks for. */
export interface SpendRequest {
  /** True: one output is unspendable (OP_RETURN) and carries at least 10,000 satoshis. */
  burn?: boolean | undefined;
  /** A transaction of an earlier `spend` without wishes, not submitted yet: the new one spends an output of it. */
  parent?: SignedTransaction | undefined;
}

/**
 * One adapter under test and hands on the node behind it. The hands act on the node itself, never through the adapter.
 * They work from the moment that `node.start` has resolved.
 */
export interface NodeApiSubject {
  /** Not started yet. */
  readonly node: NodeApi;
  /** Mines blocks on the tip, mempool included; their hashes in order of height. */
  mine(count: number): Promise<Uint8Array[]>;
  /**
   * Replaces the last `depth` blocks by `depth + 1` others; the hashes of those in order of height.
   * The mempool need not be mined with them.
   */
  reorg(depth: number): Promise<Uint8Array[]>;
  /** A valid transaction with a fee of some sat/vB and a witness, not submitted. The chain has 160 blocks or more. */
  spend(request?: SpendRequest): Promise<SignedTransaction>;
  /**
   * Ends the node and starts it again on its data, both without a word to the adapter. `whileDown` runs in between:
   * `mine` and `reorg` still work then, and the adapter reaches nothing.
   */
  restart?(whileDown?: () => Promise<void>): Promise<void>;
  /** Makes the node hold back every answer until the returned function is called. */
  stall?(): Promise<() => Promise<void>>;
  /** Ends node and adapter, and removes their files. */
  dispose(): Promise<void>;
}

/** What an adapter promises, so that nothing is skipped unseen. */
export interface NodeApiProfile {
  /** Title of the suite. */
  name: string;
  /** A fresh node of a regtest network, whose proof of work takes a handful of hashes. */
  create(): Promise<NodeApiSubject>;
  /** Exactly what `getInfo` must list, in any order. */
  features: readonly NodeFeature[];
  /** Whether a confirmed transaction is found without its block. */
  txindex: boolean;
  /** Whether subjects have `restart`. */
  restart: boolean;
  /** Whether subjects have `stall`. */
  stall: boolean;
  /** Whether `reorg` reaches the node as one switch, so that one ChainReorg is due; false: as undoing, then mining. */
  atomicReorg: boolean;
  /** Longest wait for something that must come, milliseconds; default 20,000. */
  settleMs?: number;
}

/** The three words of a test runner that the suite needs; vitest, jest and `node:test` (with `after`) have them. */
export interface SuiteRunner {
  describe(title: string, define: () => void): void;
  it(title: string, run: () => Promise<void>): void;
  afterAll(run: () => Promise<void>): void;
}
