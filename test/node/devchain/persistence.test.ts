import { appendFile, chmod, mkdtemp, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSilentLogger, type LogFields, type Logger } from '../../../src/core/logger.js';
import { openFileStore } from '../../../src/node/devchain/block-store.js';
import { BLOCKS_FILE, createDevchain, type Devchain } from '../../../src/node/devchain/devchain.js';
import { SEED_FILE } from '../../../src/node/devchain/wallet.js';
import { createTestClock, createTestRandom, groups, never, startBench, unbounded } from './bench.js';

describe('what the devchain keeps', () => {
  let dataDir: string;
  let blocks: string;
  let warnings: { fields: LogFields; message: string }[];
  let running: Devchain[];

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'devchain-'));
    blocks = join(dataDir, BLOCKS_FILE);
    warnings = [];
    running = [];
  });
  afterEach(async () => {
    for (const devchain of running) await devchain.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  const logger: Logger = {
    ...createSilentLogger(),
    warn: (fields, message) => {
      warnings.push({ fields, message });
    },
    child: () => logger,
  };

  async function open(): Promise<Devchain> {
    const devchain = createDevchain({ dataDir, clock: createTestClock(), logger, random: createTestRandom() });
    running.push(devchain);
    await devchain.start(() => {}, never);
    return devchain;
  }

  /** A chain with a stale branch and transactions, closed again; gives its state and all known hashes. */
  async function written() {
    const devchain = await open();
    await devchain.control.mine(105);
    await devchain.control.spend(3);
    await devchain.control.mine(1);
    const { chain } = groups(devchain);
    const stale = await chain.getHash(106, never);
    await devchain.control.reorg(2);
    await devchain.control.mine(1);
    const state = await chain.getState(never);
    const scripts = devchain.control.scripts();
    await devchain.stop();
    return { state, stale, scripts };
  }

  it('is the same after a restart: tip, stale branch, coins, wallet', async () => {
    const { state, stale, scripts } = await written();
    const again = await open();
    const { chain, mempool } = groups(again);
    expect(await chain.getState(never)).toEqual(state);
    expect(await chain.getHeader(stale, never)).toMatchObject({ confirmations: 0, txCount: 4 });
    expect(again.control.scripts()).toEqual(scripts);
    // The mempool is lost, which the docstring says; coins are as they were and can be spent.
    expect(await mempool.listTxids(never)).toEqual([]);
    expect(await again.control.spend(2)).toHaveLength(2);
    await again.control.mine(1);
    expect(again.control.height()).toBe(state.tip.height + 1);
    expect(warnings).toEqual([]);
  });

  it('remembers which blocks were declared invalid', async () => {
    const first = await open();
    await first.control.mine(10);
    const { chain } = groups(first);
    const bad = await chain.getBlock(await chain.getHash(8, never), never);
    await first.control.invalidate(bad.hash);
    await first.control.mine(1);
    const state = await chain.getState(never);
    await first.stop();
    const again = groups(await open());
    expect(await again.chain.getState(never)).toEqual(state);
    expect(await again.mining.submitBlock(bad.raw, never)).toEqual({
      outcome: 'rejected',
      reason: 'duplicate-invalid',
    });
  });

  it('keeps its seed to itself', async () => {
    await written();
    const seed = join(dataDir, SEED_FILE);
    expect((await stat(seed)).mode & 0o777).toBe(0o600);
    expect((await stat(blocks)).mode & 0o777).toBe(0o600);
    await chmod(seed, 0o644);
    await open();
    expect((await stat(seed)).mode & 0o777).toBe(0o600);
    expect(warnings).toHaveLength(1);
  });

  it('begins with a fresh seed each time when none is given, and with the given one else', async () => {
    const fixed = await startBench(0);
    const same = await startBench(0);
    const other = await startBench(0, { seed: undefined });
    expect(fixed.devchain.control.scripts()).toEqual(same.devchain.control.scripts());
    expect(fixed.devchain.control.scripts()).not.toEqual(other.devchain.control.scripts());
    for (const bench of [fixed, same, other]) await bench.devchain.stop();
  });

  it('cuts off a torn record at the end, wherever the crash cut it, and says so', async () => {
    const { state } = await written();
    const whole = await readFile(blocks);
    const lastBlock = (await lengthOfLast(whole)) + 13;
    for (let cut = 1; cut < lastBlock; cut += cut < 20 ? 1 : 37) {
      warnings = [];
      await writeFile(blocks, whole.subarray(0, whole.length - cut));
      const devchain = await open();
      expect(devchain.control.height(), `cut ${cut}`).toBe(state.tip.height - 1);
      expect(warnings.map(({ fields }) => fields.removedBytes)).toEqual([lastBlock - cut]);
      await devchain.stop();
      expect((await stat(blocks)).size).toBe(whole.length - lastBlock);
    }
    // What was cut off can be mined anew behind it.
    const devchain = await open();
    await devchain.control.mine(2);
    await devchain.stop();
    expect((await open()).control.height()).toBe(state.tip.height + 1);
  });

  it('cuts off zeros that a file system left at the end', async () => {
    const { state } = await written();
    await appendFile(blocks, new Uint8Array(5_000));
    expect((await open()).control.height()).toBe(state.tip.height);
    expect(warnings).toHaveLength(1);
  });

  it('finds a flipped byte anywhere, names the file and changes nothing', async () => {
    await written();
    const whole = await readFile(blocks);
    // Every byte of head, first record and last record head, and one in a hundred of the rest.
    for (let at = 0; at < whole.length; at += at < 400 ? 1 : 101) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 0x40;
      await writeFile(blocks, damaged);
      const refusal = await open().catch((error: unknown) => error);
      const reason = (refusal as { reason: string }).reason;
      // The version of the form is four of the bytes.
      expect(['DATA_CORRUPT', ...(at >= 16 && at < 20 ? ['DATA_TOO_NEW'] : [])], `byte ${at}`).toContain(reason);
      expect((refusal as Error).message).toContain(blocks);
      expect((await readFile(blocks)).equals(damaged)).toBe(true);
    }
  });

  it('starts anew on an empty file and on a piece of its head, and refuses a foreign one', async () => {
    await writeFile(blocks, '');
    expect((await open()).control.height()).toBe(0);
    await running[0]?.stop();
    await truncate(blocks, 7);
    expect((await open()).control.height()).toBe(0);
    await writeFile(blocks, 'something that somebody else put here');
    await expect(open()).rejects.toMatchObject({ reason: 'DATA_CORRUPT' });
    await writeFile(blocks, 'other');
    await expect(open()).rejects.toMatchObject({ reason: 'DATA_CORRUPT' });
  });

  it('refuses links and seeds that are none', async () => {
    await symlink('/dev/null', blocks);
    await expect(open()).rejects.toMatchObject({ reason: 'UNSAFE_DATA_DIR' });
    await rm(blocks);
    await writeFile(join(dataDir, SEED_FILE), 'no seed');
    await expect(open()).rejects.toMatchObject({ reason: 'DATA_CORRUPT' });
    await rm(join(dataDir, SEED_FILE));
    await symlink('/dev/null', join(dataDir, SEED_FILE));
    await expect(open()).rejects.toMatchObject({ reason: 'UNSAFE_DATA_DIR' });
  });

  it('tells a full disk by its name', async () => {
    const store = await openFileStore('/dev/full', logger);
    const reading = (async () => {
      for await (const _record of store.replay()) throw new Error('a record in an empty file');
    })();
    await expect(reading).rejects.toMatchObject({ reason: 'DISK_FULL' });
    await store.close();
    await expect(startBench(0, { dataDir: '/dev/null/nowhere' })).rejects.toMatchObject({ reason: 'NODE_UNAVAILABLE' });
  });

  it('needs nothing but memory without a directory', async () => {
    const bench = await startBench(105);
    const raw = await bench.devchain.control.createSpend();
    if (raw === undefined) throw new Error('no coin');
    await groups(bench.devchain).mempool.submit(raw, unbounded, never);
    await bench.devchain.stop();
    await expect(groups(bench.devchain).chain.getState(never)).rejects.toMatchObject({ reason: 'NODE_UNAVAILABLE' });
  });
});

/** Payload length of the last record. */
async function lengthOfLast(file: Buffer): Promise<number> {
  let length = 0;
  for (let at = 20; at < file.length; at += 13 + length) length = file.readUInt32LE(at + 1);
  return length;
}
