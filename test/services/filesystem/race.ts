import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { FileMetadata, ListDirectoryResponse } from '../../../gen/ts/modhost/v1/filesystem.js';
import { call, createFilesRig, type FilesRig, reasonOf } from './rig.js';

const SECRET = 'the secret outside of the data directory';
/** Length of the files outside: no file inside has it. */
const SECRET_BYTES = 7_777;
const SECRET_NAME = 'name-outside';
/** Calls that run at one time, so that each meets swaps in the middle of others. */
const CALLS_AT_ONCE = 4;

/** What a race has shown. */
export interface RaceOutcome {
  rounds: number;
  swaps: number;
  seconds: number;
  /** Calls by their outcome. */
  outcomes: Record<string, number>;
  /** What should not be; empty when all is well. */
  breaches: string[];
}

/**
 * Runs calls of every rpc against a data directory whose owner swaps files and directories for links to the outside.
 *
 * @param swapper the compiled attacker
 * @param uid     the module's own user where this process is root
 */
export async function race(swapper: string, rounds: number, uid: number): Promise<RaceOutcome> {
  // in memory where there is such a place: a sync costs nothing there, so that more calls meet more swaps
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mhr-'));
  const isRoot = process.getuid?.() === 0;
  const rig = await createFilesRig({ dir, ...(isRoot ? { uid } : {}) });
  plant(rig.outside);
  const before = stats(rig.outside);
  const child = spawn(swapper, [rig.root, rig.outside, `${uid}`], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  try {
    await lines.next();
    const breaches: string[] = [];
    const outcomes: Record<string, number> = {};
    const startMs = performance.now();
    let round = 0;
    const runner = async (): Promise<void> => {
      while (round < rounds) {
        const number = round;
        round += 1;
        const reason = await oneCall(rig, number, breaches);
        outcomes[reason] = (outcomes[reason] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: CALLS_AT_ONCE }, runner));
    const seconds = (performance.now() - startMs) / 1_000;
    child.stdin.end();
    const swaps = Number((await lines.next()).value);
    const after = stats(rig.outside);
    for (const line of after) if (!before.includes(line)) breaches.push(`outside now: ${line}`);
    for (const line of before) if (!after.includes(line)) breaches.push(`outside before: ${line}`);
    breaches.push(...rig.staged().map((name) => `left in staging: ${name}`));
    return { rounds, swaps, seconds, outcomes, breaches };
  } finally {
    await gone(child);
    await rig.dispose();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The same names outside as inside, so that each link leads to something. */
function plant(outside: string): void {
  const content = SECRET.repeat(Math.ceil(SECRET_BYTES / SECRET.length)).slice(0, SECRET_BYTES);
  for (const dir of ['', 'sub', 'r', 'r/deep', 'n']) {
    mkdirSync(join(outside, dir), { recursive: true });
    for (const name of ['f', 'w', SECRET_NAME]) writeFileSync(join(outside, dir, name), content);
  }
  chmodSync(outside, 0o700);
  for (const name of ['', ...readdirSync(outside, { recursive: true, encoding: 'utf8' })]) {
    // a time of access before that of the change: the kernel moves it on at the next read
    utimesSync(join(outside, name), 1, Date.now() / 1_000);
  }
}

/** All that reading, writing or giving away would change; taken without opening anything but directories' names. */
function stats(outside: string): string[] {
  const names = ['', ...readdirSync(outside, { recursive: true, encoding: 'utf8' })].sort();
  return names.map((name) => {
    const found = lstatSync(join(outside, name), { bigint: true });
    // listing a directory here moves its time of access
    const readAt = found.isFile() ? found.atimeNs : 0n;
    const { mode, uid, gid, ino, nlink, size, mtimeNs, ctimeNs } = found;
    return [name, mode, uid, gid, ino, nlink, size, mtimeNs, ctimeNs, readAt].join(' ');
  });
}

/** One call; what it answers must be the module's own. */
async function oneCall(rig: FilesRig, round: number, breaches: string[]): Promise<string> {
  const { service } = rig;
  const kinds: (() => Promise<unknown>)[] = [
    () => readOwn(rig, 'a/f', breaches),
    () => readOwn(rig, 'x', breaches),
    () => readOwn(rig, 'a/sub/f', breaches),
    () => rig.write('a/f', 'inside'),
    () => rig.write('a/sub/w', 'inside'),
    () => rig.write('x', 'inside'),
    () => rig.write('a/w', 'inside', { createOnly: true }),
    () => service.deleteFile({ path: 'a/w' }, call()),
    () => service.deleteFile({ path: 'a/sub/w' }, call()),
    () => listOwn(rig, 'a', breaches),
    () => listOwn(rig, 'a/sub', breaches),
    () => describeOwn(rig, 'a/f', breaches),
    () => describeOwn(rig, 'x', breaches),
    () => service.createDirectory({ path: 'a/n/deep', parents: true }, call()),
    () => service.createDirectory({ path: 'a/sub/n', parents: false }, call()),
    () => service.removeDirectory({ path: 'a/n', recursive: true }, call()),
    () => service.removeDirectory({ path: 'a/sub/n', recursive: false }, call()),
    () => service.removeDirectory({ path: 'a/r', recursive: true }, call()),
  ];
  const reason = await reasonOf(Promise.resolve(kinds[round % kinds.length]?.()));
  if (reason === 'INTERNAL' || reason.startsWith('not a')) breaches.push(`call ${round % kinds.length}: ${reason}`);
  return reason;
}

async function readOwn(rig: FilesRig, path: string, breaches: string[]): Promise<void> {
  const text = String(await rig.read(path));
  if (text !== 'inside' && text !== '') breaches.push(`${path} was read as ${text.slice(0, 40)}`);
}

async function listOwn(rig: FilesRig, path: string, breaches: string[]): Promise<void> {
  const page = (await rig.service.listDirectory({ path, pageSize: 0, pageToken: '' }, call())) as ListDirectoryResponse;
  for (const entry of page.entries) {
    if (entry.path.includes(SECRET_NAME) || entry.sizeBytes === BigInt(SECRET_BYTES)) {
      breaches.push(`the listing of ${path} has ${entry.path}, ${entry.sizeBytes} bytes`);
    }
  }
}

async function describeOwn(rig: FilesRig, path: string, breaches: string[]): Promise<void> {
  const { metadata } = (await rig.service.getMetadata({ path }, call())) as { metadata: FileMetadata };
  if (metadata.sizeBytes === BigInt(SECRET_BYTES)) breaches.push(`${path} was described as the file outside`);
}

async function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await over;
}
