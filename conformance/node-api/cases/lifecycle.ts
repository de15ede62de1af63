import assert from 'node:assert/strict';
import { type Case, rejects, type Stage } from '../stage.js';

/** Pause before handles are counted, milliseconds: closed sockets leave the event loop a turn later. */
const CLOSE_MS = 100;

async function openHandles(): Promise<Map<string, number>> {
  await new Promise((resolve) => setTimeout(resolve, CLOSE_MS));
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

async function quiet(stage: Stage): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, CLOSE_MS));
  return stage.recorder.events.length;
}

/** From start to stop. */
export const lifecycleCases: Case[] = [
  {
    id: 'lifecycle/start/no-event-before-it',
    own: 'unstarted',
    run: async (stage) => {
      assert.equal(await quiet(stage), 0);
      await stage.node.start(stage.recorder.listener, stage.signal());
      // What is there already is no news.
      assert.deepEqual(stage.recorder.steps(0), []);
    },
  },
  {
    id: 'lifecycle/start/twice',
    own: 'started',
    run: async (stage) => {
      await rejects(stage.node.start(stage.recorder.listener, stage.signal()));
      await stage.tip();
    },
  },
  {
    id: 'lifecycle/start/after-stop',
    own: 'started',
    run: async (stage) => {
      await stage.node.stop();
      await rejects(stage.node.start(stage.recorder.listener, stage.signal()));
    },
  },
  {
    id: 'lifecycle/start/cancelled',
    own: 'unstarted',
    run: async (stage) => {
      await rejects(stage.node.start(stage.recorder.listener, AbortSignal.abort()), 'CANCELLED');
      await stage.node.stop();
      assert.deepEqual(stage.recorder.events, []);
    },
  },
  {
    id: 'lifecycle/stop/never-started',
    own: 'unstarted',
    run: async ({ node }) => {
      await node.stop();
      await node.stop();
    },
  },
  {
    id: 'lifecycle/stop/idempotent',
    own: 'started',
    run: async ({ node }) => {
      await Promise.all([node.stop(), node.stop()]);
      await node.stop();
    },
  },
  {
    id: 'lifecycle/stop/calls-fail-afterwards',
    own: 'started',
    run: async ({ node, signal }) => {
      await node.stop();
      await rejects(node.chain.getState(signal()));
      await rejects(node.chain.getHash(0, signal()));
      await rejects(node.getInfo(signal()));
    },
  },
  {
    id: 'lifecycle/stop/calls-in-flight-end',
    own: 'started',
    run: async ({ node, signal }) => {
      const calls = Array.from({ length: 20 }, () => node.chain.getState(signal()));
      const ended = Promise.allSettled(calls);
      await node.stop();
      for (const call of await ended) {
        if (call.status === 'rejected') await rejects(Promise.reject(call.reason));
      }
    },
  },
  {
    id: 'lifecycle/stop/no-event-after-it',
    own: 'started',
    run: async (stage) => {
      await stage.mine(1);
      await stage.node.stop();
      const told = stage.recorder.events.length;
      assert.equal(await quiet(stage), told);
    },
  },
  {
    id: 'lifecycle/stop/leaves-no-handle',
    own: 'unstarted',
    run: async (stage) => {
      const before = await openHandles();
      await stage.node.start(stage.recorder.listener, stage.signal());
      await stage.mine(2);
      await Promise.all(Array.from({ length: 10 }, () => stage.node.chain.getState(stage.signal())));
      await stage.node.stop();
      const left: string[] = [];
      await stage
        .eventually('as few handles as before the start', async () => {
          left.length = 0;
          for (const [kind, count] of await openHandles()) {
            const had = before.get(kind) ?? 0;
            if (count > had) left.push(`${kind}: ${had} before, ${count} after`);
          }
          return left.length === 0 ? true : undefined;
        })
        .catch((error: unknown) => assert.fail(`${left.join(', ')} (${error})`));
    },
  },
];
