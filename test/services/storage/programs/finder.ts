/**
 * Opens damaged copies of storages, one after the other, and tells of each whether the damage was found, or everything
 * reads back right. Orders come as lines of JSON, answers go as lines; a crash of the engine is the end of this process.
 */
import { cpSync, rmSync, truncateSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createSystemClock } from '../../../../src/core/clock.js';
import { createSilentLogger } from '../../../../src/core/logger.js';
import { openStore } from '../../../../src/services/storage/store.js';
import { createTurns } from '../../../../src/services/storage/turns.js';
import { readState } from './lanes.js';

/** One damage. */
export interface Damage {
  /** Room of the storage that is copied. */
  room: string;
  /** File below it. */
  file: string;
  offset: number;
  /** Bits that change at the offset; undefined cuts the file there. */
  flip?: number;
  /** What the lanes must be. */
  cursors: number[];
}

const [scratch = ''] = process.argv.slice(2);
for await (const line of createInterface({ input: process.stdin })) {
  const damage = JSON.parse(line) as Damage;
  process.stdout.write(`${await outcomeOf(damage)}\n`);
}

async function outcomeOf({ room, file, offset, flip, cursors }: Damage): Promise<string> {
  const copy = join(scratch, 'copy');
  rmSync(copy, { recursive: true, force: true });
  cpSync(room, copy, { recursive: true });
  const path = join(copy, file);
  if (flip === undefined) truncateSync(path, offset);
  else {
    const handle = await open(path, 'r+');
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, offset);
    byte[0] = (byte[0] ?? 0) ^ flip;
    await handle.write(byte, 0, 1, offset);
    await handle.close();
  }
  try {
    const store = await openStore({
      ...{ room: copy, name: 'probe', clock: createSystemClock(), log: createSilentLogger(), quotaBytes: 256 << 20 },
      ...{ reads: createTurns(1), writes: createTurns(2) },
    });
    try {
      const found = await readState(store);
      if (found.join() !== cursors.join()) return `wrong: ${found.join()} instead of ${cursors.join()}`;
      return 'harmless';
    } finally {
      await store.close();
    }
  } catch (error) {
    const { reason, message } = error as { reason?: string; message: string };
    return reason === 'DATA_CORRUPT' ? 'found' : `${reason ?? 'wrong'}: ${message}`;
  }
}
