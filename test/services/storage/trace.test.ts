import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { requireToolchain } from '../../toolchain.js';
import { createForgetfulDisk } from './disk.js';
import { buildPrograms, type Programs } from './program.js';
import { LANES, readState } from './programs/lanes.js';
import { cleanUp, makeRoom, open } from './rig.js';
import { type Call, readTrace, stringsOf } from './strace.js';
import { stracePresence } from './strace-presence.js';

const SEED = Number(process.env.MODHOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Those with a question mark are missing on some processors, which have only the ones with `at`. */
const TRACED = [
  ...['openat', 'close', 'write', 'pwrite64', 'fsync', 'fdatasync', 'mkdirat', 'renameat', 'renameat2', 'unlinkat'],
  ...['?mkdir', '?rename', '?unlink', '?rmdir'],
].join();
/** Acknowledgements at which the power is cut. */
const CUTS = 25;

let programs: Programs;
beforeAll(async () => {
  programs = await buildPrograms();
});
afterAll(() => programs.dispose());
afterEach(cleanUp);

/** Calls of a writer on an empty storage. */
async function traceWriter(room: string, lanes: number, steps: number): Promise<Call[]> {
  const out = join(dirname(room), 'trace');
  const strace = ['-f', '-xx', '-s', '1000000', '-o', out, '-e', `trace=${TRACED}`];
  const writer = [programs.writer, room, '0', String(64 * 1024), String(lanes), String(steps)];
  // the ring would hide the calls from the trace
  const env = { ...process.env, UV_USE_IO_URING: '0' };
  await promisify(execFile)('strace', [...strace, process.execPath, ...writer], { env, maxBuffer: 1 << 26 });
  return readTrace(readFileSync(out, 'latin1'));
}

/** Lane and step that a call acknowledges, if it does. */
function ackOf(call: Call): [number, number] | undefined {
  if (call.name !== 'write' || !call.args.startsWith('1, ')) return undefined;
  const found = /^ack (\d+) (\d+)\n/.exec(String(stringsOf(call)[0]));
  return found === null ? undefined : [Number(found[1]), Number(found[2])];
}

describe.skipIf(requireToolchain('strace', await stracePresence()).skip)('what is acknowledged is on the disk', () => {
  it('C124: before each answer log and file of commits are written and synced', async () => {
    const room = makeRoom();
    const calls = await traceWriter(room, 1, 60);
    const disk = createForgetfulDisk(dirname(room));
    const opened = new Map<number, string>();
    let since: string[] = [];
    let answers = 0;
    for (const call of calls) {
      // one lane: when it is answered nothing else is under way but tables that are being merged
      const unsynced = disk.unsynced().filter((path) => /(\.log|\/commits)$/.test(path));
      disk.take(call);
      if (call.name === 'openat') opened.set(call.result, basename(String(stringsOf(call)[0])));
      const file = opened.get(Number.parseInt(call.args, 10)) ?? '';
      if (/\.log$|^commits$/.test(file)) since.push(`${call.name} ${file.replace(/^\d+/, '')}`);
      if (ackOf(call) === undefined) continue;
      answers += 1;
      expect(unsynced).toEqual([]);
      const synced = since.filter((what) => !what.startsWith('openat') && !what.startsWith('close'));
      expect(synced.slice(-4)).toEqual(['write .log', 'fdatasync .log', 'pwrite64 commits', 'fdatasync commits']);
      since = [];
    }
    expect(answers).toBe(60);
  });

  it(`C124: a disk that forgets all that was not synced has every acknowledged write, at ${CUTS} answers`, async () => {
    process.stderr.write(`cuts: seed ${SEED}\n`);
    const room = makeRoom();
    const steps = 60;
    const calls = await traceWriter(room, LANES, steps);
    const cuts = new Set(
      fc.sample(fc.uniqueArray(fc.nat(LANES * steps - 1), { minLength: CUTS, maxLength: CUTS }), {
        seed: SEED,
        numRuns: 1,
      })[0],
    );
    const disk = createForgetfulDisk(dirname(room));
    const acked = Array<number>(LANES).fill(0);
    let answers = 0;
    let logs = 0;
    let isNewLog = false;
    for (const call of calls) {
      disk.take(call);
      if (call.name === 'openat' && call.args.includes('O_CREAT') && /\.log$/.test(String(stringsOf(call)[0]))) {
        isNewLog = true;
        logs += 1;
      }
      const ack = ackOf(call);
      if (ack === undefined) continue;
      acked[ack[0]] = ack[1];
      answers += 1;
      // and whenever a log was begun, whose name must be on the disk too
      if (!cuts.has(answers - 1) && !isNewLog) continue;
      isNewLog = false;
      const found = makeRoom();
      disk.layOut(dirname(found));
      const store = await open(found);
      const cursors = await readState(store);
      for (const [lane, step] of acked.entries()) {
        expect(cursors[lane], `lane ${lane} at answer ${answers}, seed ${SEED}`).toBeGreaterThanOrEqual(step);
        expect(cursors[lane]).toBeLessThanOrEqual(step + 1);
      }
      await store.close();
    }
    expect(answers).toBe(LANES * steps);
    expect(logs).toBeGreaterThan(3);
  });
});
