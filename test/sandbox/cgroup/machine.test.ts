import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { createSilentLogger } from '../../../src/core/logger.js';
import { createRunOnce } from '../../../src/process/run-once.js';
import { type OpenedGroups, openResourceGroups } from '../../../src/sandbox/cgroup/open.js';
import type { ResourceGroup, ResourceGroups } from '../../../src/sandbox/group.js';
import { DEFAULT_LIMITS } from '../../../src/sandbox/limits.js';

const open = (name: string, without: readonly string[] = []): Promise<OpenedGroups> =>
  openResourceGroups({ name, run: createRunOnce(), logger: createSilentLogger(), without });
const newName = (): string => `test${randomBytes(6).toString('hex')}`;

const first = await open(newName());
await first.groups?.close();
const { memory, pids, kill } = first.groups?.powers ?? {};
// which machine this is, not whether the code works: without a controller there is nothing to try it on
const skip = memory === undefined || pids === undefined || kill === undefined;

describe.skipIf(skip)('control groups of this machine', () => {
  const opened: ResourceGroups[] = [];
  const openGroups = async (name = newName(), without: readonly string[] = []): Promise<ResourceGroups> => {
    const { groups } = await open(name, without);
    if (groups === undefined) throw new Error('this machine had groups a moment ago');
    opened.push(groups);
    return groups;
  };
  afterEach(async () => {
    for (const groups of opened.splice(0)) {
      await groups.sweep();
      await groups.close();
    }
  });

  /** Runs a script as a member from its first moment on; gives its end and what it wrote. */
  const run = (group: ResourceGroup, script: string): Promise<{ code: number | null; text: string }> =>
    new Promise((resolve) => {
      const joining = group.joinFiles.map((file) => `echo 0 > ${file} || exit 99`).join('; ');
      const child = spawn('/bin/bash', ['-c', `${joining}; ${script}`], { stdio: ['ignore', 'pipe', 'pipe'] });
      let text = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (text += String(part)));
      child.on('close', (code) => resolve({ code, text }));
    });
  const until = async (holds: () => boolean): Promise<void> => {
    for (let waited = 0; !holds(); waited += 10) {
      if (waited > 10_000) throw new Error('it did not come about');
      await sleep(10);
    }
  };

  it('C144: end a process that needs more memory, and count it', async () => {
    const groups = await openGroups();
    const group = await groups.create('a-1', { ...DEFAULT_LIMITS, memoryMb: 64 });
    expect(group.usage().oomKills).toBe(0);
    const { text } = await run(group, `python3 -c 'x = bytearray([1]) * (200 << 20)'; echo "ended $?"`);
    expect(text).toContain('ended 137');
    expect(group.usage().oomKills).toBe(1);
    const other = await groups.create('b-1', { ...DEFAULT_LIMITS, memoryMb: 64 });
    expect((await run(other, `python3 -c 'x = bytearray([1]) * (20 << 20)'; echo "ended $?"`)).text).toContain(
      'ended 0',
    );
    expect(other.usage().oomKills).toBe(0);
  });

  it('C144: refuse the fork above the number of processes, and count it', async () => {
    const group = await (await openGroups()).create('a-1', { ...DEFAULT_LIMITS, pids: 10 });
    const program = 'import os, time\nfor i in range(30):\n  if os.fork() == 0:\n    time.sleep(5)\n    break';
    const { text } = await run(group, `exec python3 -c '${program}'`);
    expect(text).toContain('temporarily unavailable');
    expect(group.usage().pidsRefused).toBeGreaterThan(0);
    expect(group.usage().pids).toBeLessThanOrEqual(12);
  });

  it('C144: give a share of the processor, once it is set', async () => {
    const groups = await openGroups();
    if (groups.powers.cpu === undefined) return;
    const group = await groups.create('a-1', DEFAULT_LIMITS);
    group.setCpuPercent(10);
    const began = performance.now();
    await run(group, 'timeout 1 bash -c "while :; do :; done"');
    const wallMs = performance.now() - began;
    expect(group.usage().cpuMs).toBeLessThan(wallMs * 0.2);
    group.setCpuPercent(undefined);
    const before = group.usage().cpuMs ?? 0;
    await run(group, 'timeout 0.5 bash -c "while :; do :; done"');
    expect((group.usage().cpuMs ?? 0) - before).toBeGreaterThan(0);
  });

  it('C144: leave the host before all of them where they want the processor at the same time', async () => {
    const groups = await openGroups();
    const group = await groups.create('a-1', DEFAULT_LIMITS);
    // the one of the processor stands in a hierarchy of version 1 or in the only one of version 2
    const above = group.joinFiles.map((file) => join(dirname(file), '..'));
    const weights = above.flatMap((dir) =>
      [
        ['cpu.shares', 256],
        ['cpu.weight', 25],
      ].flatMap(([file, weight]) =>
        existsSync(join(dir, String(file))) ? [[Number(readFileSync(join(dir, String(file)), 'utf8')), weight]] : [],
      ),
    );
    expect(weights.length).toBe(groups.powers.cpu === undefined ? 0 : 1);
    for (const [is, wanted] of weights) expect(is).toBe(wanted);
  });

  it('C143: know, kill and remove all members, those that left their parents too', async () => {
    const groups = await openGroups();
    const group = await groups.create('a-1', DEFAULT_LIMITS);
    const running = run(group, 'setsid bash -c "sleep 100 & sleep 100" & (sleep 100 &); echo up; sleep 100');
    await until(() => group.members().length >= 5);
    const members = group.members();
    expect(group.usage().pids).toBe(members.length);
    group.kill();
    await running;
    await group.remove();
    for (const pid of members) expect(existsSync(`/proc/${pid}/exe`)).toBe(false);
    for (const file of group.joinFiles) expect(existsSync(file)).toBe(false);
    // twice is fine
    await group.remove();
  });

  it('C154: sweep what a host of the same name left, and nothing of another', async () => {
    const name = newName();
    const [killed, other] = [await openGroups(name), await openGroups()];
    const left = await killed.create('a-1', DEFAULT_LIMITS);
    const foreign = await other.create('a-1', DEFAULT_LIMITS);
    const ends = [run(left, 'sleep 100 & sleep 100'), run(foreign, 'sleep 2; echo slept')] as const;
    await until(() => left.members().length >= 3 && foreign.members().length >= 1);
    const next = await openGroups(name);
    expect(await next.sweep()).toBeGreaterThanOrEqual(3);
    await ends[0];
    expect(existsSync(left.joinFiles[0] as string)).toBe(false);
    expect((await ends[1]).text).toBe('slept\n');
    // a spawn of the same name begins afresh
    const anew = await other.create('a-1', DEFAULT_LIMITS);
    expect(anew.members()).toEqual([]);
  });

  it('leaves a controller alone that it is told to, and says that the power lacks', async () => {
    const { groups, lacks } = await open(newName(), ['memory']);
    if (groups !== undefined) opened.push(groups);
    expect(groups?.powers.memory).toBeUndefined();
    expect(groups?.powers.pids).toBeDefined();
    expect(lacks.map(({ power }) => power)).toContain('memory');
    const group = await groups?.create('a-1', DEFAULT_LIMITS);
    expect(group?.usage()).toMatchObject({ chargedBytes: undefined, oomKills: undefined });
    await group?.remove();
  });

  it('leaves no directory behind', async () => {
    const name = newName();
    const groups = await openGroups(name);
    const group = await groups.create('a-1', DEFAULT_LIMITS);
    const hostDirs = group.joinFiles.map((file) => file.slice(0, file.indexOf(name) + name.length));
    for (const dir of hostDirs) expect(readdirSync(dir)).toContain('mod-a-1');
    await group.remove();
    await groups.close();
    for (const dir of hostDirs) expect(existsSync(dir)).toBe(false);
  });

  it('refuses names that could lead elsewhere', async () => {
    const groups = await openGroups();
    for (const id of ['../x', 'a/b', '', '.', 'x'.repeat(300)]) {
      await expect(groups.create(id, DEFAULT_LIMITS)).rejects.toMatchObject({ reason: 'INTERNAL' });
    }
  });
});
