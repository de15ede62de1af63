import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, type Programs } from './program.js';
import type { Damage } from './programs/finder.js';
import { LANES, openTrees, readState, writeStep } from './programs/lanes.js';
import { atEnd, cleanUp, MEMORY, makeRoom, open, reasonOf } from './rig.js';

const FLIPS = 500;
/** Bytes of a table from its end that are flipped one by one. */
const TAIL_BYTES = 160;
const SEED = Number(process.env.MODHOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

let programs: Programs;
beforeAll(async () => {
  programs = await buildPrograms();
});
afterAll(() => programs.dispose());
afterEach(cleanUp);

interface Stored {
  room: string;
  cursors: number[];
  files: { file: string; size: number }[];
}

function filesIn(room: string): Stored['files'] {
  return readdirSync(room, { recursive: true, encoding: 'utf8' })
    .map((file) => ({ file, stat: statSync(join(room, file)) }))
    .filter(({ stat }) => stat.isFile())
    .map(({ file, stat }) => ({ file, size: stat.size }));
}

/** A storage of some tables, closed as it should be. */
async function closedStorage(): Promise<Stored> {
  const room = makeRoom(MEMORY);
  const store = await open(room, { engine: { writeBufferBytes: 64 * 1024 } });
  await openTrees(store);
  for (let step = 1; step <= 60; step += 1) {
    await Promise.all(Array.from({ length: LANES }, (_, lane) => writeStep(store, lane, step)));
  }
  const cursors = await readState(store);
  await store.close();
  return { room, cursors, files: filesIn(room) };
}

/** A storage whose writer was killed, so that its log is longer than what tables hold. */
async function killedStorage(): Promise<Stored> {
  const room = makeRoom(MEMORY);
  const child = spawn(process.execPath, [programs.writer, room, '0', String(64 * 1024), String(LANES), '100000']);
  atEnd(() => child.kill('SIGKILL'));
  const cursors = Array<number>(LANES).fill(0);
  let answers = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, lane, step] = line.split(' ');
    if (word !== 'ack') continue;
    cursors[Number(lane)] = Number(step);
    answers += 1;
    if (answers === 250) child.kill('SIGKILL');
  }
  // the last step of a lane may have been written without its answer; reading a copy tells, and leaves this one as it is
  const files = filesIn(room);
  return { room, cursors, files };
}

/** Has a process find each damage; a process that dies of one says so in place of an answer. */
async function outcomesOf(damages: readonly Damage[]): Promise<string[]> {
  const scratch = dirname(makeRoom(MEMORY));
  const outcomes: string[] = [];
  let child: ChildProcess | undefined;
  let answers: AsyncIterator<string> | undefined;
  for (const damage of damages) {
    if (child === undefined || answers === undefined) {
      const started = spawn(process.execPath, [programs.finder, scratch], { stdio: ['pipe', 'pipe', 'inherit'] });
      atEnd(() => started.kill('SIGKILL'));
      answers = createInterface({ input: started.stdout })[Symbol.asyncIterator]();
      child = started;
    }
    child.stdin?.write(`${JSON.stringify(damage)}\n`);
    const answer = await answers.next();
    if (answer.done !== true) {
      outcomes.push(answer.value);
      continue;
    }
    const [code, signal] =
      child.exitCode === null && child.signalCode === null
        ? await once(child, 'exit')
        : [child.exitCode, child.signalCode];
    outcomes.push(`the process ended: ${code ?? signal}`);
    child = undefined;
  }
  child?.stdin?.end();
  return outcomes;
}

/** Half of the flips fall on any byte, half on any file: the short ones matter most. */
function flipsOf({ room, cursors, files }: Stored, count: number, seed: number): Damage[] {
  const whole = files.filter(({ size }) => size > 0);
  const total = whole.reduce((sum, { size }) => sum + size, 0);
  const part = fc.tuple(fc.boolean(), fc.nat(total - 1), fc.nat(whole.length - 1), fc.nat(1 << 30), fc.nat(7));
  return fc.sample(part, { seed, numRuns: count }).map(([anyByte, byte, index, within, bit]) => {
    let offset = byte;
    let at = 0;
    while (offset >= (whole[at]?.size ?? 0)) {
      offset -= whole[at]?.size ?? 0;
      at += 1;
    }
    const { file, size } = whole[anyByte ? at : index] as Stored['files'][number];
    return { room, file, cursors, offset: anyByte ? offset : within % size, flip: 1 << bit };
  });
}

/** Whether a storage serves, lane by lane, no less than was answered for and no more than was written. */
function lostNothingAnswered(outcome: string, answered: readonly number[], written: readonly number[]): boolean {
  const served = /^wrong: ([\d,]+) instead/.exec(outcome)?.[1]?.split(',').map(Number);
  if (served?.length !== answered.length) return false;
  return served.every((step, lane) => step >= (answered[lane] ?? 0) && step <= (written[lane] ?? 0));
}

const bad = (damages: readonly Damage[], outcomes: readonly string[]): string[] =>
  outcomes.flatMap((outcome, index) => {
    const { file, offset, flip } = damages[index] as Damage;
    return outcome === 'found' || outcome === 'harmless' ? [] : [`${file} at ${offset}, flip ${flip}: ${outcome}`];
  });

describe('damaged files', () => {
  it(`C127: ${FLIPS} flipped bits are found or harmless, never served`, { timeout: 180_000 }, async () => {
    process.stderr.write(`flips: seed ${SEED}\n`);
    const closed = await closedStorage();
    const killed = await killedStorage();
    // what the killed one really holds: read from an undamaged copy
    const lockFile = killed.files.find(({ file }) => file.endsWith('LOG'))?.file ?? '';
    const [first = ''] = await outcomesOf([{ ...killed, file: lockFile, offset: 0, flip: 1 }]);
    const real = /^wrong: ([\d,]+) instead/.exec(first)?.[1]?.split(',').map(Number) ?? killed.cursors;
    for (const [lane, step] of killed.cursors.entries()) expect([step, step + 1]).toContain(real[lane]);
    const damages = [
      ...flipsOf(closed, FLIPS / 2, SEED),
      ...flipsOf({ ...killed, cursors: real }, FLIPS / 2, SEED + 1),
    ];
    const half = damages.length / 2;
    const answers = (await Promise.all([outcomesOf(damages.slice(0, half)), outcomesOf(damages.slice(half))])).flat();
    // what the killed one had on the disk and had not answered for may go with the damage: nobody was told of it
    const outcomes = answers.map((outcome, index) =>
      index >= half && lostNothingAnswered(outcome, killed.cursors, real) ? 'harmless' : outcome,
    );
    expect(bad(damages, outcomes), `seed ${SEED}`).toEqual([]);
    const found = outcomes.filter((outcome) => outcome === 'found').length;
    process.stderr.write(`flips: ${found} found, ${outcomes.length - found} harmless\n`);
    expect(found).toBeGreaterThan(FLIPS / 4);
  });

  it('C127: each byte behind the entries of a table, flipped by itself, is found or harmless', async () => {
    const closed = await closedStorage();
    const { file, size } = closed.files.find((one) => one.file.endsWith('.ldb')) as Stored['files'][number];
    // index, list of blocks and footer: lengths and places, by which the engine allocates and reads
    const damages = Array.from({ length: Math.min(TAIL_BYTES, size) }, (_, index) => ({
      ...{
        room: closed.room,
        file,
        cursors: closed.cursors,
        offset: size - 1 - index,
        flip: index % 2 === 0 ? 0x80 : 1,
      },
    }));
    const half = TAIL_BYTES / 2;
    const outcomes = (await Promise.all([outcomesOf(damages.slice(0, half)), outcomesOf(damages.slice(half))])).flat();
    expect(bad(damages, outcomes)).toEqual([]);
  });

  it('C127: files that are cut or empty are found or harmless', { timeout: 60_000 }, async () => {
    const closed = await closedStorage();
    const damages = closed.files
      .filter(({ size }) => size > 0)
      .flatMap(({ file, size }) =>
        [0, Math.floor(size / 2), size - 1].map((offset) => ({ ...closed, file, offset, flip: undefined })),
      )
      .map(({ flip: _, files: __, ...damage }) => damage);
    const outcomes = await outcomesOf(damages);
    expect(bad(damages, outcomes)).toEqual([]);
    // of tables, of the list of tables and of the file of commits nothing can be missing
    for (const [index, { file, offset }] of damages.entries()) {
      if (/\.ldb$|CURRENT$|commits$/.test(file) && offset === 0)
        expect(`${file} ${outcomes[index]}`).toContain('found');
    }
  });

  it('C127: what is set aside is what was found, whatever the engine made of it', async () => {
    const { room, files } = await closedStorage();
    const list = files.find(({ file }) => file.includes('MANIFEST'))?.file ?? '';
    const before = new Map(files.map(({ file }) => [file, readFileSync(join(room, file))]));
    // without its last lines the list names fewer tables, and the engine removes the others
    truncateSync(join(room, list), Math.floor(statSync(join(room, list)).size / 2));
    before.set(list, readFileSync(join(room, list)));
    expect(await reasonOf(open(room))).toBe('DATA_CORRUPT');
    const [aside = ''] = readdirSync(room);
    for (const [file, bytes] of before) {
      if (/LOG|LOCK/.test(file)) continue;
      const kept = file.replace('probe/db/', `${aside}/as-found/`).replace('probe/', `${aside}/`);
      expect(readFileSync(join(room, kept)).equals(bytes), file).toBe(true);
    }
  });
});
