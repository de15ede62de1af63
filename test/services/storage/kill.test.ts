import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, type Programs } from './program.js';
import { LANES } from './programs/lanes.js';
import { atEnd, cleanUp, MEMORY, makeRoom } from './rig.js';

/** The whole host is killed more often, in test/kills; here its writer alone, whose tables are merged all the time. */
const KILLS = Number(process.env.MODHOST_TEST_KILLS ?? 20);
const SEED = Number(process.env.MODHOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Each start of the program, its load, its end. */
const KILL_MS = 3_000;

let programs: Programs;
beforeAll(async () => {
  programs = await buildPrograms();
});
afterAll(() => programs.dispose());
afterEach(cleanUp);

/** Longest time that a writer lives after it has begun to write, milliseconds. */
const MOST_MS = 200;

/** Runs the writer until it is killed; answers what it found, and what it acknowledged. */
async function runAndKill(room: string, bufferBytes: number, killAfterMs: number, fromItsStart: boolean) {
  const child = spawn(process.execPath, [programs.writer, room, '8', String(bufferBytes), String(LANES), '1000000'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  atEnd(() => child.kill('SIGKILL'));
  const closed = once(child, 'close');
  let found: number[] | undefined;
  const acked = Array<number>(LANES).fill(0);
  let said = '';
  child.stderr.on('data', (text) => {
    said += text;
  });
  const begun = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [word, ...numbers] = line.split(' ');
      if (word === 'found') {
        found = numbers.map(Number);
        resolve();
      } else acked[Number(numbers[0])] = Number(numbers[1]);
    });
    child.once('exit', () => resolve());
  });
  if (!fromItsStart) await begun;
  await new Promise((resolve) => setTimeout(resolve, killAfterMs));
  child.kill('SIGKILL');
  const [code] = (await closed) as [number | null];
  return { found, acked, said, byItself: code !== null };
}

describe('storage under kill -9', () => {
  it(`C124: ${KILLS} kills at random moments, in compaction too, lose nothing acknowledged and tear nothing`, {
    timeout: KILLS * KILL_MS + 20_000,
  }, async () => {
    process.stderr.write(`kills: seed ${SEED}\n`);
    const random = fc.sample(fc.tuple(fc.nat(MOST_MS), fc.nat(9)), { seed: SEED, numRuns: KILLS });
    // a killed process loses nothing that it wrote, synced or not, so one of the two needs no disk.
    // LevelDB's smallest buffer: a table is written every few dozen steps, and tables are merged all the time
    const rooms = [
      { room: makeRoom(MEMORY), buffer: 64 * 1024, acked: Array<number>(LANES).fill(0) },
      { room: makeRoom(), buffer: 1024 * 1024, acked: Array<number>(LANES).fill(0) },
    ];
    let acknowledged = 0;
    const killAll = async ({ room, buffer, acked }: (typeof rooms)[number], mine: typeof random): Promise<void> => {
      for (const [index, [killAfterMs, kind]] of mine.entries()) {
        const run = await runAndKill(room, buffer, killAfterMs, kind === 0);
        const context = `kill ${index} with buffers of ${buffer}, seed ${SEED}: ${run.said}`;
        expect(run.byItself, context).toBe(false);
        if (run.found === undefined) continue;
        for (const [lane, found] of run.found.entries()) {
          const was = acked[lane] ?? 0;
          // each lane has one step at most that was written and not acknowledged
          expect([was, was + 1], `lane ${lane}, ${context}`).toContain(found);
          acked[lane] = Math.max(found, run.acked[lane] ?? 0);
        }
        acknowledged += run.acked.filter((step) => step > 0).length;
      }
    };
    const half = Math.ceil(KILLS / 2);
    await Promise.all(rooms.map((room, index) => killAll(room, random.slice(index * half, (index + 1) * half))));
    expect(acknowledged).toBeGreaterThan(KILLS);
  });
});
