import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { credentials } from '@grpc/grpc-js';
import { expect } from 'vitest';
import { LogLevel } from '../../gen/ts/modhost/v1/log.js';
import { MempoolServiceClient } from '../../gen/ts/modhost/v1/mempool.js';
import { hashToDisplay } from '../../src/core/bytes.js';
import { createHost, type Host } from '../../src/host/host.js';
import { parseManifest } from '../../src/manifest/parse.js';
import type { NodeApi } from '../../src/node/node-api.js';
import { openExternal, VERSION, writeExternalModule } from '../host/external-module.js';

/** The node of a story and hands on it beside the host; the truth comes from its own interface. */
export interface StoryNode {
  /** A port that was not started yet; asked again after `restart` when the node lives inside the host. */
  port(): NodeApi;
  mine(count: number): Promise<unknown>;
  reorg(depth: number): Promise<unknown>;
  /** Bytes of a valid signed transaction that the node has not seen. */
  spend(): Promise<Uint8Array>;
  /** Kills the node and starts it again; undefined when it lives inside the host and dies with it. */
  restart: (() => Promise<void>) | undefined;
  /** Height of the tip by the node's own word. */
  height(): Promise<number>;
  /** Display hash at a height by the node's own word. */
  hashAt(height: number): Promise<string>;
  /** Whether the node's mempool or chain has the transaction, by its own word. */
  hasTransaction(txid: string): Promise<boolean>;
  dispose(): Promise<void>;
}

/** Blocks before the modules see the chain; the first coinbases must be spendable. */
const FIRST_BLOCKS = 110;
/** Blocks that are mined while the modules look on. */
const STORY_BLOCKS = 150;
/** How long a module may take to catch up on a busy machine. */
const CATCH_UP_MS = 90_000;

const LANGUAGES = ['typescript', 'python', 'go'] as const;
const MODULES_DIR = fileURLToPath(new URL('../../conformance/modules/', import.meta.url));

interface JournalLine {
  /** `start` is where a module began, and the first line of its journal. */
  event: 'start' | 'connect' | 'disconnect';
  height: number;
  hash: string;
}

/** Languages whose example is built on this machine, and the reason for each that is not. */
export function builtExamples(): { language: string; dir: string; name: string; missing: string | undefined }[] {
  return LANGUAGES.map((language) => {
    const dir = join(MODULES_DIR, language);
    const { name, run, entryPoint } = parseManifest(readFileSync(join(dir, 'module.toml')));
    const program = run.command === undefined ? entryPoint : (run.command[1] ?? '');
    const built = existsSync(join(dir, program)) && (language !== 'python' || existsSync(join(dir, 'vendor')));
    return { language, dir, name, missing: built ? undefined : `the ${language} example is not built; npm run setup` };
  });
}

/**
 * One tale on any node: three modules in three languages follow 150 blocks, a transaction that a module submits, a reorg
 * of three blocks and a restart of the node; one of them is down for a while and resumes. Each must have seen every
 * connect and disconnect once and in order, and end where the node's own word ends.
 */
export async function tellChainStory(node: StoryNode): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'ms-'));
  const modulesDir = join(dir, 'm');
  const examples = builtExamples();
  writeExternalModule(modulesDir, 'sender', ['send_transactions']);
  const makeHost = (): Host =>
    createHost({
      modulesDir,
      dataDir: join(dir, 'd'),
      socketDir: join(dir, 's'),
      node: node.port(),
      modules: {
        sender: { run: 'external', unsigned: true },
        ...Object.fromEntries(examples.map(({ name, dir: path }) => [name, { path, unsigned: true }] as const)),
      },
    });
  const journalOf = (name: string): JournalLine[] => {
    const path = join(dir, 'd', 'modules', name, 'journal.jsonl');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as JournalLine).filter(({ event }) => event !== 'start');
  };
  /** Waits until the module's chain ends where the node's does. */
  const caughtUp = async (name: string): Promise<void> => {
    const height = await node.height();
    const hash = await node.hashAt(height);
    await expect
      .poll(() => chainOf(journalOf(name), name).at(-1), { timeout: CATCH_UP_MS, interval: 100, message: name })
      .toMatchObject({ height, hash });
  };
  const all = examples.map(({ name }) => name);
  const [sleeper] = all.slice(1);
  if (sleeper === undefined) throw new Error('there is no second example');

  let host = makeHost();
  try {
    await host.start();
    await node.mine(FIRST_BLOCKS);
    const outcomes = await host.autoLoad();
    expect(
      outcomes.filter(({ error }) => error !== undefined).map(({ name, error }) => `${name}: ${error?.message}`),
    ).toEqual([]);
    expect(host.list().filter(({ state }) => state === RUNNING).length).toBe(all.length);
    const from = await node.height();

    for (let mined = 0; mined < STORY_BLOCKS; mined += 10) await node.mine(10);
    for (const name of all) await caughtUp(name);

    const txid = await submitFromModule(host, dir, await node.spend());
    expect(await node.hasTransaction(txid)).toBe(true);
    await node.mine(1);
    // a module that is behind may be spared a block that came and went; one at the tip hears of every one
    for (const name of all) await caughtUp(name);
    const before = new Map(all.map((name) => [name, journalOf(name).length] as const));

    await node.reorg(3);
    for (const name of all) {
      await caughtUp(name);
      const told = journalOf(name).slice(before.get(name));
      expect(
        told.map(({ event }) => event),
        name,
      ).toEqual([...repeat('disconnect', 3), ...repeat('connect', 4)]);
    }

    // one module is away while the chain moves on, another reorg included
    await host.unload(sleeper);
    const seenBySleeper = journalOf(sleeper).length;
    await node.mine(5);
    await node.reorg(2);
    if (node.restart === undefined) {
      await host.stop();
      host = makeHost();
      await host.start();
      await host.autoLoad();
    } else {
      await node.restart();
      await host.load(sleeper);
    }
    await node.mine(3);
    for (const name of all) await caughtUp(name);
    expect(journalOf(sleeper).length).toBeGreaterThan(seenBySleeper);

    for (const name of all) {
      const journal = journalOf(name);
      const chain = chainOf(journal, name);
      expect(chain[0]?.height, `${name} began where it was loaded`).toBe(from + 1);
      for (const { height, hash } of chain) expect(hash, `${name} at ${height}`).toBe(await node.hashAt(height));
    }

    // each answers for its health in its own language, and goes when it is asked to, without a signal
    for (const name of all) {
      const healthOf = () => host.list().find((module) => module.name === name)?.health?.message;
      await expect.poll(healthOf, { timeout: CATCH_UP_MS, message: name }).toMatch(/^at height \d+$/);
      await host.unload(name);
      expect(await linesOf(host, name), name).toContain('asked to stop');
    }
  } finally {
    await host.stop();
    await node.dispose();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Number of RUNNING in modhost.v1.ModuleState. */
const RUNNING = 4;

/**
 * The chain that a journal tells: every connect stands on the block before it, every disconnect takes the last one away.
 * A duplicate, a hole or a wrong order breaks that, so it is checked line by line.
 */
function chainOf(journal: readonly JournalLine[], name: string): JournalLine[] {
  const chain: JournalLine[] = [];
  for (const [index, line] of journal.entries()) {
    const top = chain.at(-1);
    const place = `${name}, journal line ${index + 1}: ${line.event} ${line.height}`;
    if (line.event === 'connect') {
      if (top !== undefined) expect(line.height, place).toBe(top.height + 1);
      expect(
        chain.some(({ hash }) => hash === line.hash),
        `${place} twice`,
      ).toBe(false);
      chain.push(line);
    } else {
      expect({ height: line.height, hash: line.hash }, place).toEqual({ height: top?.height, hash: top?.hash });
      chain.pop();
    }
  }
  return chain;
}

async function linesOf(host: Host, name: string): Promise<string[]> {
  const filter = { modules: [name], minLevel: LogLevel.UNSPECIFIED, tail: 10_000, follow: false };
  const lines: string[] = [];
  for await (const batch of host.control.logs(filter, new AbortController().signal)) {
    lines.push(...batch.lines.map(({ message }) => message));
  }
  return lines;
}

function repeat<T>(value: T, times: number): T[] {
  return Array.from({ length: times }, () => value);
}

async function submitFromModule(host: Host, dir: string, raw: Uint8Array): Promise<string> {
  const socket = join(dir, 's', 'x-sender', 'host.sock');
  await openExternal(socket, readFileSync(join(dir, 's', 'x-sender', 'token')), 'sender', VERSION);
  expect(host.list().find(({ name }) => name === 'sender')).toBeDefined();
  const client = new MempoolServiceClient(`unix:${socket}`, credentials.createInsecure());
  try {
    const { txid } = await new Promise<{ txid: Uint8Array }>((resolve, reject) => {
      client.submitTransaction({ raw, maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n }, (error, response) =>
        error === null ? resolve(response) : reject(error),
      );
    });
    return hashToDisplay(txid);
  } finally {
    client.close();
  }
}
