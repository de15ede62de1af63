import { describe, expect, it } from 'vitest';
import { GUARANTEE_NAMES, type GuaranteeName } from '../../src/contract/guarantee.js';
import type { Guarantee } from '../../src/sandbox/guarantee.js';
import { type Machine, readMachine } from '../../src/sandbox/machine.js';
import {
  APPARMOR_PROFILE,
  DELEGATION_DROP_IN,
  type Diagnosis,
  DOCKER_OPTIONS,
  findRemedies,
  PI_BOOT_FLAGS,
  type Remedy,
} from '../../src/sandbox/remedies.js';

/** The machine of these files; others are not there. */
const machineOf = (files: Readonly<Record<string, string>>): Machine => readMachine((path) => files[path]);

const WORKS = { works: true, path: '/usr/bin/x' } as const;
const REFUSED = {
  works: false,
  reason: 'bwrap: No permissions to create new namespace',
  cure: 'allow user namespaces',
} as const;
const V2 = '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';
const V1 = '31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n';

function vector(lost: readonly GuaranteeName[]): Guarantee[] {
  return GUARANTEE_NAMES.map((name) => ({
    name,
    state: lost.includes(name) ? 'none' : 'enforced',
    by: '',
    verified: false,
  }));
}

function diagnose(
  files: Record<string, string>,
  lost: readonly GuaranteeName[],
  more: Partial<Diagnosis['sandbox']> = {},
) {
  const probe = { bubblewrap: WORKS, tools: WORKS, ownUsers: WORKS, landlock: { ...WORKS, abi: 7 }, ...more.probe };
  return findRemedies({
    machine: machineOf(files),
    sandbox: { probe, lacks: more.lacks ?? [] },
    engine: probe.bubblewrap.works ? 'bubblewrap' : 'landlock',
    containment: vector(lost),
  });
}

const noNamespaces = (files: Record<string, string>): Remedy[] =>
  diagnose(files, ['network', 'lifetime'], {
    probe: { bubblewrap: REFUSED, tools: WORKS, ownUsers: WORKS, landlock: { ...WORKS, abi: 7 } },
  });
const noMemory = (files: Record<string, string>): Remedy[] =>
  diagnose(files, ['memory'], { lacks: [{ power: 'memory', reason: 'no memory controller', cure: 'switch it on' }] });

describe('cures', () => {
  it('Ubuntu 24.04: an AppArmor profile for bubblewrap alone', () => {
    const [remedy, ...more] = noNamespaces({ '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1\n' });
    expect(more).toEqual([]);
    expect(remedy?.guarantees).toEqual(['network', 'lifetime']);
    expect(remedy?.steps[0]).toContain(APPARMOR_PROFILE);
    expect(APPARMOR_PROFILE).toMatch(/^profile bwrap \/usr\/bin\/bwrap flags=\(unconfined\) \{\n {2}userns,$/m);
    expect(remedy?.steps[1]).toBe('apparmor_parser --replace /etc/apparmor.d/bwrap');
  });

  it('Docker: its options, or modules that somebody else starts', () => {
    for (const files of [
      { '/.dockerenv': '' },
      { '/run/.containerenv': '' },
      { '/proc/1/environ': 'A=1\0container=lxc\0' },
    ]) {
      const [remedy] = noNamespaces(files);
      expect(remedy?.steps[0]).toContain(DOCKER_OPTIONS);
      expect(remedy?.steps.join('\n')).toContain('run = "external"');
    }
    expect(DOCKER_OPTIONS).toBe('--security-opt seccomp=unconfined --security-opt systempaths=unconfined');
  });

  it('Debian and hardened kernels: the switch that is off, and how it stays on', () => {
    const clone = noNamespaces({ '/proc/sys/kernel/unprivileged_userns_clone': '0\n' });
    expect(clone[0]?.steps[0]).toBe('sysctl -w kernel.unprivileged_userns_clone=1');
    const most = noNamespaces({ '/proc/sys/user/max_user_namespaces': '0\n' });
    expect(most[0]?.steps[0]).toMatch(/^sysctl -w user\.max_user_namespaces=[1-9]/);
    expect(noNamespaces({})[0]?.steps).toEqual([REFUSED.cure]);
  });

  it('Raspberry Pi: the boot flag', () => {
    const [remedy] = noMemory({
      '/proc/device-tree/model': 'Raspberry Pi 4 Model B Rev 1.4\0',
      '/proc/cgroups': '#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t60\t0\n',
      '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io pids\n',
      '/proc/self/mountinfo': V2,
    });
    expect(remedy?.guarantees).toEqual(['memory']);
    expect(remedy?.steps[0]).toContain('/boot/firmware/cmdline.txt');
    expect(remedy?.steps[0]).toContain(PI_BOOT_FLAGS);
    expect(PI_BOOT_FLAGS).toBe('cgroup_enable=memory cgroup_memory=1');
  });

  it('systemd: the drop-in that delegates', () => {
    const [remedy] = noMemory({
      '/proc/1/comm': 'systemd\n',
      '/sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n',
    });
    expect(remedy?.steps[0]).toContain(`delegate.conf:\n${DELEGATION_DROP_IN}`);
    expect(DELEGATION_DROP_IN).toBe('[Service]\nDelegate=yes');
    expect(remedy?.steps[1]).toBe('systemctl daemon-reload && systemctl restart modhost');
  });

  it('one remedy for what one cause takes away, none for what holds', () => {
    const lacks = (['memory', 'cpu', 'pids', 'kill'] as const).map((power) => ({
      power,
      reason: 'read-only',
      cure: 'x',
    }));
    expect(diagnose({}, ['memory', 'cpu', 'pids'], { lacks })).toEqual([
      { guarantees: ['memory', 'cpu', 'pids'], cause: 'read-only', steps: ['x'] },
    ]);
    expect(diagnose({}, [], { lacks })).toEqual([]);
  });
});

describe('what a machine says of itself', () => {
  it('is read from the kernel, and what it does not say is not made up', () => {
    const files = {
      '/proc/self/mountinfo': V1 + V2,
      '/proc/meminfo': 'SwapTotal:  2048 kB\n',
      '/proc/self/status': 'Seccomp:\t0\n',
    };
    expect(machineOf(files)).toMatchObject({ controlGroups: 'v1 and v2', swapBytes: 2_097_152, hasSeccomp: true });
    expect(machineOf({ '/proc/self/mountinfo': V1 }).controlGroups).toBe('v1');
    expect(machineOf({ '/proc/self/mountinfo': V2 }).controlGroups).toBe('v2');
    expect(machineOf({})).toMatchObject({
      controlGroups: 'none',
      memoryController: undefined,
      container: undefined,
      hasSystemd: false,
      board: undefined,
      appArmorRestrictsNamespaces: false,
      namespacesOff: undefined,
      hasSeccomp: false,
      swapBytes: undefined,
    });
  });

  it('has a memory controller where either version lists it', () => {
    const listed = 'memory\t4\t22\t1\n';
    expect(machineOf({ '/proc/cgroups': listed }).memoryController).toBe(true);
    expect(machineOf({ '/proc/cgroups': 'memory\t0\t1\t0\n' }).memoryController).toBe(false);
    expect(machineOf({ '/sys/fs/cgroup/cgroup.controllers': 'cpu memory\n' }).memoryController).toBe(true);
    // a container that was given no controllers, on a kernel that has them
    const given = { '/sys/fs/cgroup/cgroup.controllers': '\n', '/proc/cgroups': listed };
    expect(machineOf(given).memoryController).toBe(true);
  });
});
