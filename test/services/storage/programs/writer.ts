/**
 * Finds what a storage holds, proves it, tells it, and writes on until it is killed or has done so many steps.
 *
 *     writer ROOM PACE_MS WRITE_BUFFER LANES STEPS
 */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSystemClock } from '../../../../src/core/clock.js';
import { createSilentLogger } from '../../../../src/core/logger.js';
import { openStore } from '../../../../src/services/storage/store.js';
import { createTurns } from '../../../../src/services/storage/turns.js';
import { openTrees, readState, writeStep } from './lanes.js';

const [room = '', paceMs, writeBuffer, lanes, steps] = process.argv.slice(2);
const store = await openStore({
  ...{ room, name: 'probe', clock: createSystemClock(), log: createSilentLogger(), quotaBytes: 256 << 20 },
  ...{ reads: createTurns(1), writes: createTurns(2) },
  engine: { writeBufferBytes: Number(writeBuffer) },
});
await openTrees(store);
const cursors = await readState(store);
writeSync(1, `found ${cursors.join(' ')}\n`);
await Promise.all(
  cursors.slice(0, Number(lanes)).map(async (cursor, lane) => {
    for (let step = cursor + 1; step <= cursor + Number(steps); step += 1) {
      if (Number(paceMs) > 0) await sleep(Number(paceMs));
      await writeStep(store, lane, step);
      // one call, so that what the parent has read was acknowledged, and nothing waits in this process
      writeSync(1, `ack ${lane} ${step}\n`);
    }
  }),
);
await store.close();
