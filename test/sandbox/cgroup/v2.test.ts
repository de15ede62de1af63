import { describe, expect, it } from 'vitest';
import { createSilentLogger } from '../../../src/core/logger.js';
import { unitOf } from '../../../src/sandbox/cgroup/delegation.js';
import { findOwnGroups } from '../../../src/sandbox/cgroup/hierarchies.js';
import { type OpenedGroups, openResourceGroups } from '../../../src/sandbox/cgroup/open.js';
import { DEFAULT_LIMITS } from '../../../src/sandbox/limits.js';
import { type Cgroup2Double, createCgroup2Double } from './cgroup2-double.js';

const ALL = ['cpu', 'memory', 'pids', 'io'];
const OWN = '/system.slice/modhost.service';
const HOME = `/sys/fs/cgroup${OWN}`;
const LIMITS = { ...DEFAULT_LIMITS, memoryMb: 64, pids: 10, cpuPercent: 25 };

/** No systemd answers here: the double is a machine without one. */
const open = (tree: Cgroup2Double, without: readonly string[] = []): Promise<OpenedGroups> =>
  openResourceGroups({
    name: 'host1',
    run: async () => ({ code: 1, stdout: '', stderr: '' }),
    logger: createSilentLogger(),
    tree,
    without,
  });

// The kernel gives a controller to version 1 or to version 2, and most machines that run tests have one of them only:
// these tests use a double that knows the kernel's rules. What needs a kernel is tried in machine.test.ts where it has them.
describe('control groups of version 2, on a double of the kernel', () => {
  it('moves the host into a leaf, hands controllers on, and bounds a spawn beside it', async () => {
    const tree = createCgroup2Double({ ownPath: OWN, controllers: ALL });
    const { groups, lacks } = await open(tree);
    expect(lacks).toEqual([]);
    expect(groups?.powers).toEqual({ memory: 'cgroup v2', cpu: 'cgroup v2', pids: 'cgroup v2', kill: 'cgroup v2' });
    expect(tree.members(`${HOME}/modhost-host`)).toEqual([process.pid]);
    expect(tree.members(HOME)).toEqual([]);
    const group = await groups?.create('alpha-1', LIMITS);
    const dir = `${HOME}/modhost-host1/mod-alpha-1`;
    expect(group?.joinFiles).toEqual([`${dir}/cgroup.procs`]);
    const read = (file: string): string | undefined => tree.read(`${dir}/${file}`)?.trim();
    expect(read('memory.max')).toBe(String(64 * 1024 * 1024));
    expect(read('memory.swap.max')).toBe('0');
    expect(read('memory.oom.group')).toBe('1');
    expect(read('pids.max')).toBe('12');
    expect(read('cpu.max')).toBe('max 100000');
    group?.setCpuPercent(25);
    expect(read('cpu.max')).toBe('25000 100000');
    group?.setCpuPercent(undefined);
    expect(read('cpu.max')).toBe('max 100000');
    // all modules together weigh less than the host beside them (100), and each as much as another
    expect(tree.read(`${HOME}/modhost-host1/cpu.weight`)?.trim()).toBe('25');
    expect(read('cpu.weight')).toBe('100');
    // nothing above the own group was written to
    expect(tree.writes.every((write) => write.startsWith(`${HOME}/`))).toBe(true);
  });

  it('reads what the group has counted, and kills and removes it whole', async () => {
    const tree = createCgroup2Double({ ownPath: OWN, controllers: ALL });
    const { groups } = await open(tree);
    const group = await groups?.create('alpha-1', LIMITS);
    const dir = `${HOME}/modhost-host1/mod-alpha-1`;
    for (const pid of [70_001, 70_002]) tree.write(`${dir}/cgroup.procs`, String(pid));
    tree.set(`${dir}/memory.current`, '4096\n');
    tree.set(`${dir}/memory.events`, 'low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n');
    tree.set(`${dir}/cpu.stat`, 'usage_usec 1500\nuser_usec 9\n');
    tree.set(`${dir}/pids.events`, 'max 3\n');
    expect(group?.members()).toEqual([70_001, 70_002]);
    expect(group?.usage()).toEqual({ chargedBytes: 4096, cpuMs: 1.5, pids: 2, oomKills: 2, pidsRefused: 3 });
    await group?.remove();
    expect(tree.killed).toEqual([70_001, 70_002]);
    expect(tree.exists(dir)).toBe(false);
    await groups?.close();
    expect(tree.exists(`${HOME}/modhost-host1`)).toBe(false);
  });

  it('C154: sweeps what a killed host left, without the host and without another host’s', async () => {
    const tree = createCgroup2Double({ ownPath: OWN, controllers: ALL });
    const killed = (await open(tree)).groups;
    await killed?.create('alpha-1', LIMITS);
    tree.write(`${HOME}/modhost-host1/mod-alpha-1/cgroup.procs`, '70001');
    tree.add(`${HOME}/modhost-other`);
    tree.add(`${HOME}/modhost-other/mod-beta-1`, [70_002]);
    const { groups } = await open(tree);
    expect(await groups?.sweep()).toBe(1);
    expect(tree.killed).toEqual([70_001]);
    expect(tree.exists(`${HOME}/modhost-host1/mod-alpha-1`)).toBe(false);
    expect(tree.members(`${HOME}/modhost-host`)).toEqual([process.pid]);
  });

  it('finds itself in its leaf and builds beside it: a second host of one process', async () => {
    const tree = createCgroup2Double({ ownPath: `${OWN}/modhost-host`, controllers: ALL });
    const { groups } = await open(tree);
    expect(groups?.powers.memory).toBe('cgroup v2');
    await groups?.create('alpha-1', LIMITS);
    expect(tree.exists(`${HOME}/modhost-host1/mod-alpha-1`)).toBe(true);
    expect(tree.members(`${HOME}/modhost-host`)).toEqual([process.pid]);
  });

  it('gives the powers of the controllers that are there: a Raspberry Pi whose firmware switches memory off', async () => {
    const tree = createCgroup2Double({ ownPath: OWN, controllers: ['cpu', 'pids'] });
    const { groups, lacks } = await open(tree);
    expect(groups?.powers).toMatchObject({ memory: undefined, cpu: 'cgroup v2', pids: 'cgroup v2' });
    expect(lacks.map(({ power }) => power)).toEqual(['memory']);
    expect(lacks[0]?.cure).toContain('cgroup_enable=memory');
    const group = await groups?.create('alpha-1', LIMITS);
    expect(group?.usage()).toMatchObject({ chargedBytes: undefined, oomKills: undefined });
  });

  it('moves nobody else: in a group that is shared it gives up, and stays where it was', async () => {
    const tree = createCgroup2Double({ ownPath: OWN, controllers: ALL });
    tree.write(`${HOME}/cgroup.procs`, '70001');
    const { groups, lacks } = await open(tree);
    expect(groups).toBeUndefined();
    expect(lacks.map(({ power }) => power)).toEqual(['memory', 'cpu', 'pids', 'kill']);
    expect(tree.members(HOME)).toEqual([process.pid, 70_001]);
    expect(tree.killed).toEqual([]);
  });

  it('says what lacks where it may not write: an ordinary user, a container', async () => {
    const { groups, lacks } = await open(createCgroup2Double({ ownPath: '/', controllers: ALL, readOnly: true }));
    expect(groups).toBeUndefined();
    expect(lacks).toHaveLength(4);
    for (const { reason, cure } of lacks) expect(reason !== '' && cure !== '').toBe(true);
  });

  it('needs no leaf in the root of the tree', async () => {
    const tree = createCgroup2Double({ ownPath: '/', controllers: ALL });
    const { groups } = await open(tree);
    expect(groups?.powers.memory).toBe('cgroup v2');
    expect(tree.members('/sys/fs/cgroup')).toEqual([process.pid]);
    const group = await groups?.create('alpha-1', LIMITS);
    expect(group?.joinFiles).toEqual(['/sys/fs/cgroup/modhost-host1/mod-alpha-1/cgroup.procs']);
    await group?.remove();
    expect(tree.exists('/sys/fs/cgroup/modhost-host1')).toBe(false);
  });
});

describe('where the host stands', () => {
  const at = (cgroup: string, mountinfo: string) =>
    findOwnGroups({
      ...createCgroup2Double({ ownPath: '/', controllers: [] }),
      read: (path) => (path.endsWith('/cgroup') ? cgroup : mountinfo),
    });

  it('is read from the kernel’s words, with spaces, shared hierarchies, and mounts of a part', () => {
    const found = at(
      '3:cpu,cpuacct:/docker/abc/x\n2:memory:/docker/abc\n1:name=systemd:/\n0::/a b\n',
      [
        '30 1 0:1 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct',
        '31 1 0:2 /elsewhere /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory',
        '32 1 0:3 / /sys/fs/cgroup\\040two rw - cgroup2 cgroup2 rw',
      ].join('\n'),
    );
    expect(found.v1.get('cpu')).toBe('/sys/fs/cgroup/cpu,cpuacct/x');
    expect(found.v1.get('cpuacct')).toBe('/sys/fs/cgroup/cpu,cpuacct/x');
    // the mounted part does not have the host's own group
    expect(found.v1.has('memory')).toBe(false);
    expect(found.v2).toBe('/sys/fs/cgroup two/a b');
  });

  it('tells the unit of a group', () => {
    expect(unitOf('/system.slice/modhost.service/modhost-host')).toEqual({ name: 'modhost.service', ofUser: false });
    expect(unitOf('/user.slice/user-1000.slice/user@1000.service/app.slice/modhost.service')).toEqual({
      name: 'modhost.service',
      ofUser: true,
    });
    expect(unitOf('/user.slice/user-0.slice/session-3.scope')).toEqual({ name: 'session-3.scope', ofUser: false });
    expect(unitOf('/')).toBeUndefined();
  });
});
