import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { hashToDisplay } from '../../src/core/bytes.js';
import { parseManifest } from '../../src/manifest/parse.js';
import { builtExamples } from '../story/chain-story.js';
import { requireToolchain } from '../toolchain.js';
import { createSdkRig, type SdkRig } from './sdk-rig.js';

/** Programs behind the words that manifests use, as the host's own table has them. */
const INTERPRETERS: Readonly<Record<string, string>> = { node: process.execPath, python: '/usr/bin/python3' };
/** How long an example may take to catch up on a busy machine. */
const CATCH_UP_MS = 30_000;

const rigs: SdkRig[] = [];
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const rig of rigs.splice(0)) await rig.dispose();
});

interface JournalLine {
  event: 'start' | 'connect' | 'disconnect' | 'rollback';
  height: number;
  hash: string;
  parent?: string;
}

/** An example as a process of its own beside a rig, without a sandbox. */
async function createSubject(dir: string) {
  const manifest = parseManifest(readFileSync(join(dir, 'module.toml')));
  const config = Object.fromEntries([
    ['summary_interval_s', 60],
    ['target_blocks', 6],
    ['confirmations', 3],
  ]);
  const rig = await createSdkRig({
    permissions: manifest.capabilities,
    identity: { moduleId: manifest.name, version: manifest.version },
    configJson: JSON.stringify(config),
  });
  rigs.push(rig);
  const [word = '', script = ''] = manifest.run.command ?? [];
  const program = manifest.run.command === undefined ? join(dir, manifest.entryPoint) : (INTERPRETERS[word] ?? word);
  const said: string[] = [];
  const journalPath = join(rig.env.MODHOST_DATA_DIR ?? '', 'journal.jsonl');
  const subject = {
    rig,
    said,
    journal(): JournalLine[] {
      if (!existsSync(journalPath)) return [];
      const lines = readFileSync(journalPath, 'utf8').split('\n').slice(0, -1);
      return lines.map((line) => JSON.parse(line) as JournalLine);
    },
    start(): ChildProcess {
      const args = script === '' ? [] : [join(dir, script)];
      const child = spawn(program, args, {
        env: { ...rig.env, PATH: '/usr/bin:/bin' },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      for (const out of [child.stdout, child.stderr]) out.on('data', (text: Buffer) => said.push(text.toString()));
      children.push(child);
      return child;
    },
    async ready(): Promise<void> {
      await expect.poll(() => rig.life.readies, { timeout: CATCH_UP_MS, message: said.join('') }).toBe(1);
    },
    /** Waits until the journal ends at the node's tip, and checks every line of it on the way. */
    async caughtUp(): Promise<void> {
      const { tip } = await rig.node.chain.getState(new AbortController().signal);
      const wanted = `${tip.height} ${hashToDisplay(tip.hash)}`;
      await expect.poll(() => endOf(subject.journal()), { timeout: CATCH_UP_MS, message: said.join('') }).toBe(wanted);
    },
  };
  return subject;
}

/** Where a journal ends; throws on a line that does not follow the one before. */
function endOf(journal: readonly JournalLine[]): string {
  let chain: { height: number; hash: string }[] = [];
  for (const [index, { event, height, hash, parent }] of journal.entries()) {
    const top = chain.at(-1);
    const wrong = (): never => {
      throw new Error(`line ${index + 1}: ${event} ${height} after ${top?.height}`);
    };
    if (event === 'start') chain = index === 0 ? [{ height, hash }] : wrong();
    else if (event === 'connect') chain.push(height === (top?.height ?? -1) + 1 ? { height, hash } : wrong());
    else if (event === 'disconnect') {
      if (top?.hash !== hash || top.height !== height) wrong();
      chain.pop();
      if (chain.length === 0) chain = [{ height: height - 1, hash: parent ?? '' }];
    } else while ((chain.at(-1)?.height ?? 0) > height) chain.pop();
  }
  const end = chain.at(-1);
  return `${end?.height} ${end?.hash}`;
}

for (const { language, dir, missing } of builtExamples()) {
  const presence =
    missing === undefined ? ({ available: true } as const) : { available: false as const, reason: missing };
  const { skip } = requireToolchain(`the ${language} example`, presence);
  describe.skipIf(skip)(`the ${language} example`, () => {
    it('keeps one journal over dropped streams, kills, and hosts that have forgotten it', async () => {
      const subject = await createSubject(dir);
      const { rig } = subject;
      let child = subject.start();
      await subject.ready();
      await rig.node.control.mine(120);
      await subject.caughtUp();
      await rig.node.control.spend(3);
      await rig.node.control.mine(1);
      await rig.node.control.reorg(4);
      await subject.caughtUp();

      rig.life.server.dropConnections();
      await rig.node.control.reorg(2);
      await subject.caughtUp();

      // the same process meets a host that knows nothing of it
      await rig.crash();
      await rig.node.control.mine(3);
      await rig.revive();
      await subject.caughtUp();
      await subject.ready();

      // killed in the middle of a catch-up; the next start goes on at the last whole line
      await rig.node.control.mine(40);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await rig.crash();
      await rig.node.control.reorg(15);
      await rig.revive();
      child = subject.start();
      await subject.ready();
      await subject.caughtUp();
    }, 120_000);

    it('ends with code 0 at SIGTERM, and when the host ends the session', async () => {
      const asked = await createSubject(dir);
      const first = asked.start();
      await asked.ready();
      first.kill('SIGTERM');
      expect(await once(first, 'exit'), asked.said.join('')).toEqual([0, null]);

      const closed = await createSubject(dir);
      const second = closed.start();
      await closed.ready();
      closed.rig.life.session.close(new HostError('SESSION_CLOSED', 'unloaded'));
      expect(await once(second, 'exit'), closed.said.join('')).toEqual([0, null]);
    }, 120_000);

    it('puts the journal of another chain aside', async () => {
      const subject = await createSubject(dir);
      const child = subject.start();
      await subject.ready();
      child.kill('SIGTERM');
      await once(child, 'exit');
      const before = subject.journal();
      await subject.rig.crash();
      await subject.rig.revive();
      subject.rig.reader.block = async () => undefined;
      subject.start();
      await expect.poll(() => subject.journal()[0]?.event, { timeout: CATCH_UP_MS }).toBe('start');
      await expect
        .poll(() => subject.said.join('') + subject.rig.lines.map(({ message }) => message).join(''), {
          timeout: CATCH_UP_MS,
        })
        .toContain('another chain');
      delete subject.rig.reader.block;
      await subject.ready();
      expect(before).toHaveLength(1);
      await subject.rig.node.control.mine(2);
      await subject.caughtUp();
    }, 120_000);

    it('tells a person who starts it by hand what it is', async () => {
      const subject = await createSubject(dir);
      for (const name of Object.keys(subject.rig.env)) delete subject.rig.env[name];
      const [code] = await once(subject.start(), 'exit');
      expect(code).not.toBe(0);
      expect(subject.said.join('')).toContain('modhost run');
    }, 30_000);
  });
}
