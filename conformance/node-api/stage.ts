import assert from 'node:assert/strict';
import type { ErrorReason, HostError } from '../../src/contract/error.js';
import { equalBytes } from '../../src/core/bytes.js';
import type {
  BlockPosition,
  MempoolApi,
  MiningApi,
  NetworkApi,
  NodeApi,
  NodeFeature,
  UtxoApi,
} from '../../src/node/node-api.js';
import { createRecorder, type Recorder } from './recorder.js';
import type { NodeApiProfile, NodeApiSubject } from './subject.js';

/** What a case may demand of a profile before it applies. */
export type Ability = NodeFeature | 'txindex' | 'restart' | 'stall' | 'atomic-reorg';

/** One thing that every adapter does, under an id that never changes. */
export interface Case {
  /** Stable, `group/topic/detail`. */
  id: string;
  /** Abilities without which there is nothing to test. */
  needs?: readonly Ability[];
  /** Abilities whose absence is what is tested. */
  lacks?: readonly Ability[];
  /** `started` or `unstarted`: a subject of its own, because the case ends or breaks it. Default: the shared one. */
  own?: 'started' | 'unstarted';
  run(stage: Stage): Promise<void>;
}

/** A subject at work and what cases do with it. */
export interface Stage {
  readonly profile: NodeApiProfile;
  readonly subject: NodeApiSubject;
  readonly node: NodeApi;
  readonly recorder: Recorder;
  /** Aborts only when a call hangs longer than the settle time. */
  signal(): AbortSignal;
  tip(): Promise<BlockPosition>;
  /** Mines, and waits until the last block was told. */
  mine(count: number): Promise<Uint8Array[]>;
  /** Reorganises, and waits until the new tip was told. */
  reorg(depth: number): Promise<Uint8Array[]>;
  /** Waits until the told chain ends at this block and every call agrees. */
  settled(hash: Uint8Array): Promise<void>;
  /** Waits until a look at the node gives a value; for what no event announces. */
  eventually<T>(what: string, look: () => Promise<T | undefined>): Promise<T>;
  utxo(): UtxoApi;
  mempool(): MempoolApi;
  network(): NetworkApi;
  mining(): MiningApi;
}

/** Blocks that make coinbases spendable (100 confirmations), one for each transaction that a case asks for. */
export const MATURE_HEIGHT = 160;

const DEFAULT_SETTLE_MS = 20_000;
/** Pause between two looks, milliseconds. */
const LOOK_MS = 25;

/** A stage over a fresh subject. */
export async function createStage(profile: NodeApiProfile): Promise<Stage> {
  const subject = await profile.create();
  const { node } = subject;
  const settleMs = profile.settleMs ?? DEFAULT_SETTLE_MS;
  const recorder = createRecorder(settleMs);
  const signal = (): AbortSignal => AbortSignal.timeout(settleMs);

  const tip = async (): Promise<BlockPosition> => (await node.chain.getState(signal())).tip;

  const eventually = async <T>(what: string, look: () => Promise<T | undefined>): Promise<T> => {
    const until = performance.now() + settleMs;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      assert.ok(performance.now() < until, `${what}: did not come in ${settleMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  };

  const settled = async (hash: Uint8Array): Promise<void> => {
    await recorder.until('the new tip in the events', () => {
      const told = recorder.tip();
      return told !== undefined && equalBytes(told.hash, hash) ? true : undefined;
    });
    assert.deepEqual(recorder.breaches, []);
    await eventually('the new tip in getState', async () => (equalBytes((await tip()).hash, hash) ? true : undefined));
  };

  const moved = async (hashes: Uint8Array[]): Promise<Uint8Array[]> => {
    await settled(required(hashes.at(-1), 'the subject named no block'));
    return hashes;
  };

  return {
    profile,
    subject,
    node,
    recorder,
    signal,
    tip,
    eventually,
    settled,
    mine: async (count) => await moved(await subject.mine(count)),
    reorg: async (depth) => await moved(await subject.reorg(depth)),
    utxo: () => required(node.utxo, 'the profile lists utxo, the adapter has no such group'),
    mempool: () => required(node.mempool, 'the profile lists mempool, the adapter has no such group'),
    network: () => required(node.network, 'the profile lists network, the adapter has no such group'),
    mining: () => required(node.mining, 'the profile lists mining, the adapter has no such group'),
  };
}

/** Whether a profile can show what a case is about. */
export function applies(test: Case, profile: NodeApiProfile): boolean {
  const has = (ability: Ability): boolean => {
    if (ability === 'txindex') return profile.txindex;
    if (ability === 'restart') return profile.restart;
    if (ability === 'stall') return profile.stall;
    if (ability === 'atomic-reorg') return profile.atomicReorg;
    return profile.features.includes(ability);
  };
  return (test.needs ?? []).every(has) && !(test.lacks ?? []).some(has);
}

/** The value, which must be there. */
export function required<T>(value: T | undefined, otherwise: string): T {
  assert.ok(value !== undefined, otherwise);
  return value;
}

/** Asserts that a call rejects with a HostError of one of the reasons, or of any reason but INTERNAL when none is named. */
export async function rejects(call: Promise<unknown>, ...reasons: ErrorReason[]): Promise<HostError> {
  const error = await call.then(
    () => assert.fail(`was answered; expected ${reasons.join(' or ') || 'a HostError'}`),
    (reason: unknown) => reason,
  );
  if (error instanceof assert.AssertionError) throw error;
  // By shape, not by class: an embedder's adapter may carry a copy of the package of its own.
  assert.ok(
    error instanceof Error && error.name === 'HostError' && 'reason' in error,
    `no HostError: ${String(error)}`,
  );
  const found = error as HostError;
  assert.ok(found.message.length > 0, 'the error says nothing');
  assert.notEqual(found.reason, 'INTERNAL', `INTERNAL is for defects: ${found.message}`);
  if (reasons.length > 0)
    assert.ok(reasons.includes(found.reason), `${found.reason} instead of ${reasons.join(' or ')}`);
  return found;
}

/** 32 bytes that are no block and no transaction. */
export function unknownHash(): Uint8Array {
  return new Uint8Array(32).fill(0xab);
}
