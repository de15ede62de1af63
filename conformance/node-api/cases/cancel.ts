import assert from 'node:assert/strict';
import { HostError } from '../../../src/contract/error.js';
import { type Ability, type Case, rejects, type Stage, unknownHash } from '../stage.js';

const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };
/** Longest time from an abort to the end of the call, milliseconds; far above any scheduling delay, far below a timeout. */
const PROMPT_MS = 5_000;

interface Call {
  name: string;
  needs: readonly Ability[];
  make(stage: Stage, signal: AbortSignal): Promise<unknown>;
}

/** One call of every kind. */
const CALLS: readonly Call[] = [
  { name: 'get-info', needs: [], make: ({ node }, signal) => node.getInfo(signal) },
  { name: 'get-state', needs: [], make: ({ node }, signal) => node.chain.getState(signal) },
  { name: 'get-sync', needs: [], make: ({ node }, signal) => node.chain.getSync(signal) },
  { name: 'get-hash', needs: [], make: ({ node }, signal) => node.chain.getHash(1, signal) },
  { name: 'get-block', needs: [], make: ({ node }, signal) => node.chain.getBlock(unknownHash(), signal) },
  { name: 'get-header', needs: [], make: ({ node }, signal) => node.chain.getHeader(unknownHash(), signal) },
  { name: 'get-headers', needs: [], make: ({ node }, signal) => node.chain.getHeaders(0, 50, signal) },
  {
    name: 'get-transaction',
    needs: [],
    make: ({ node }, signal) => node.chain.getTransaction(unknownHash(), undefined, signal),
  },
  {
    name: 'get-utxo',
    needs: ['utxo'],
    make: ({ utxo }, signal) => utxo().getUtxo({ txid: unknownHash(), index: 0 }, true, signal),
  },
  { name: 'list-txids', needs: ['mempool'], make: ({ mempool }, signal) => mempool().listTxids(signal) },
  { name: 'get-size', needs: ['mempool'], make: ({ mempool }, signal) => mempool().getSize(signal) },
  { name: 'get-entry', needs: ['mempool'], make: ({ mempool }, signal) => mempool().getEntry(unknownHash(), signal) },
  {
    name: 'submit',
    needs: ['submit-transaction'],
    make: async ({ mempool, subject }, signal) => mempool().submit((await subject.spend()).raw, NO_BOUNDS, signal),
  },
  { name: 'get-stats', needs: ['network'], make: ({ network }, signal) => network().getStats(signal) },
  { name: 'get-peers', needs: ['network'], make: ({ network }, signal) => network().getPeers(signal) },
  {
    name: 'get-template',
    needs: ['mining-template'],
    make: ({ mining }, signal) => mining().getTemplate(['segwit'], signal),
  },
];

/** Settles as the call does, but fails when that takes longer than PROMPT_MS. */
async function promptly<T>(call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: 'did not end after the abort' })), PROMPT_MS);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Calls end when their signal fires. */
export const cancelCases: Case[] = [
  ...CALLS.map(
    (call): Case => ({
      id: `cancel/before/${call.name}`,
      needs: call.needs,
      run: async (stage) => {
        await rejects(promptly(call.make(stage, AbortSignal.abort())), 'CANCELLED');
      },
    }),
  ),
  {
    id: 'cancel/during/every-call-ends',
    run: async (stage) => {
      for (const call of CALLS) {
        if (!call.needs.every((need) => stage.profile.features.some((feature) => feature === need))) continue;
        const controller = new AbortController();
        const pending = call.make(stage, controller.signal);
        controller.abort();
        // What is quicker than the abort may still answer, or fail in its own way.
        await promptly(pending).catch(async (error: unknown) => {
          if (error instanceof assert.AssertionError) throw error;
          await rejects(Promise.reject(error));
        });
      }
    },
  },
  {
    id: 'cancel/during/an-answer-held-back',
    needs: ['stall'],
    run: async (stage) => {
      const release = await stage.subject.stall?.();
      try {
        const controller = new AbortController();
        const pending = stage.node.chain.getHash(1, controller.signal);
        pending.catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, 50));
        controller.abort();
        await rejects(promptly(pending), 'CANCELLED');
      } finally {
        await release?.();
      }
    },
  },
  {
    id: 'cancel/reason/is-kept-when-it-is-a-host-error',
    run: async ({ node }) => {
      const deadline = new HostError('DEADLINE_EXCEEDED', 'the deadline of the caller passed');
      await rejects(promptly(node.chain.getHash(1, AbortSignal.abort(deadline))), 'DEADLINE_EXCEEDED');
    },
  },
  {
    id: 'cancel/after/other-calls-go-on',
    run: async ({ node, signal }) => {
      const controller = new AbortController();
      const dropped = Array.from({ length: 20 }, () => node.chain.getHash(1, controller.signal));
      const kept = Array.from({ length: 20 }, () => node.chain.getHash(1, signal()));
      controller.abort();
      const settled = await Promise.allSettled(dropped);
      assert.equal(settled.length, 20);
      const hashes = await Promise.all(kept);
      for (const hash of hashes) assert.deepEqual(hash, hashes[0]);
    },
  },
];
