import assert from 'node:assert/strict';
import { hashToDisplay } from '../../../src/core/bytes.js';
import { type Case, rejects, required, type Stage } from '../stage.js';

async function restart(stage: Stage, whileDown?: () => Promise<void>): Promise<void> {
  await required(stage.subject.restart, 'restart is promised, the subject has none').call(stage.subject, whileDown);
}

function told(stage: Stage, mark: number): string[] {
  const steps = stage.recorder.steps(mark);
  return steps.map((step) => `${step.type === 'BlockConnected' ? '+' : '-'}${hashToDisplay(step.hash)}`);
}

/** Waits until a call works again after the node came back. */
async function reachable(stage: Stage): Promise<void> {
  await stage.eventually('an answer after the restart', () => stage.tip().catch(() => undefined));
}

/** The node goes and comes back; the adapter lives on. */
export const restartCases: Case[] = [
  {
    id: 'restart/nothing-happened/nothing-is-told-twice',
    needs: ['restart'],
    run: async (stage) => {
      const { hash } = await stage.tip();
      const mark = stage.recorder.events.length;
      await restart(stage);
      await reachable(stage);
      const mined = await stage.mine(1);
      assert.deepEqual(
        told(stage, mark),
        mined.map((block) => `+${hashToDisplay(block)}`),
      );
      assert.deepEqual((await stage.node.chain.getHeader(hash, stage.signal())).confirmations, 2);
    },
  },
  {
    id: 'restart/connection/told-down-and-up',
    needs: ['restart'],
    run: async (stage) => {
      const { recorder } = stage;
      const told = (mark: number, up: boolean): number | undefined => {
        const at = recorder.since(mark).findIndex((event) => event.type === 'NodeConnection' && event.up === up);
        return at < 0 ? undefined : mark + at;
      };
      // An earlier restart may not be over for the adapter: what is down already is not told again.
      await recorder.until('a settled connection', () => {
        const last = recorder.events.findLast((event) => event.type === 'NodeConnection');
        return last?.type !== 'NodeConnection' || last.up ? true : undefined;
      });
      let mark = recorder.events.length;
      await restart(stage, async () => {
        // Nobody calls meanwhile: the adapter finds out by itself.
        mark = await recorder.until('NodeConnection down', () => told(mark, false));
      });
      await recorder.until('NodeConnection up', () => told(mark, true));
    },
  },
  {
    id: 'restart/calls-while-down/node-unavailable',
    needs: ['restart'],
    run: async (stage) => {
      await restart(stage, async () => {
        await rejects(stage.node.chain.getState(stage.signal()), 'NODE_UNAVAILABLE');
      });
      await reachable(stage);
    },
  },
  {
    id: 'restart/mined-meanwhile/told-in-order',
    needs: ['restart'],
    run: async (stage) => {
      const mark = stage.recorder.events.length;
      let mined: Uint8Array[] = [];
      await restart(stage, async () => {
        mined = await stage.subject.mine(7);
      });
      await stage.settled(required(mined.at(-1), 'nothing was mined'));
      assert.deepEqual(
        told(stage, mark),
        mined.map((block) => `+${hashToDisplay(block)}`),
      );
    },
  },
  {
    id: 'restart/reorganised-meanwhile/told-in-order',
    needs: ['restart'],
    run: async (stage) => {
      const { height } = await stage.tip();
      const old = await stage.node.chain.getHeaders(height - 2, 3, stage.signal());
      const mark = stage.recorder.events.length;
      let branch: Uint8Array[] = [];
      await restart(stage, async () => {
        branch = await stage.subject.reorg(3);
      });
      await stage.settled(required(branch.at(-1), 'no branch'));
      assert.deepEqual(told(stage, mark), [
        ...old.map((at) => `-${hashToDisplay(at.hash)}`).reverse(),
        ...branch.map((hash) => `+${hashToDisplay(hash)}`),
      ]);
    },
  },
  {
    id: 'restart/three-times/no-gap-and-no-repetition',
    needs: ['restart'],
    run: async (stage) => {
      const mark = stage.recorder.events.length;
      const mined: Uint8Array[] = [];
      for (let round = 0; round < 3; round++) {
        await restart(stage, async () => {
          mined.push(...(await stage.subject.mine(1)));
        });
        await reachable(stage);
        mined.push(...(await stage.mine(1)));
      }
      assert.deepEqual(
        told(stage, mark),
        mined.map((block) => `+${hashToDisplay(block)}`),
      );
    },
  },
];
