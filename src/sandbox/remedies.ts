import type { GuaranteeName } from '../contract/guarantee.js';
import type { Guarantee } from './guarantee.js';
import type { Machine } from './machine.js';
import type { Sandbox } from './open.js';

/** Something that is missing on this machine, and exactly what to do. */
export interface Remedy {
  /** What it would bring. */
  readonly guarantees: readonly GuaranteeName[];
  /** What is missing, one line. */
  readonly cause: string;
  /** What to do: commands and texts of files, ready to be used. */
  readonly steps: readonly string[];
}

/** What remedies are found from: the machine, and what was opened on it. */
export interface Diagnosis {
  readonly machine: Machine;
  readonly sandbox: Pick<Sandbox, 'probe' | 'lacks'>;
  readonly engine: string;
  readonly containment: readonly Guarantee[];
}

/** What namespaces bring. */
const OF_NAMESPACES: readonly GuaranteeName[] = ['filesystem', 'network', 'processes', 'privileges', 'lifetime'];

/** One remedy for each thing that is missing, in the order in which they help most. */
export function findRemedies({ machine, sandbox, engine, containment }: Diagnosis): Remedy[] {
  const { probe, lacks } = sandbox;
  const lost = new Set(containment.flatMap(({ name, state }) => (state === 'enforced' ? [] : [name])));
  const remedies: Remedy[] = [];
  const add = (names: readonly GuaranteeName[], cause: string, steps: readonly string[]): void => {
    const guarantees = names.filter((name) => lost.has(name));
    if (guarantees.length > 0) remedies.push({ guarantees, cause, steps });
  };
  if (!probe.tools.works) add([...OF_NAMESPACES, 'open_files', 'pids', 'user'], probe.tools.reason, [probe.tools.cure]);
  if (!probe.bubblewrap.works) add(OF_NAMESPACES, probe.bubblewrap.reason, namespaceSteps(machine, probe.bubblewrap));
  if (engine === 'none' && !probe.landlock.works)
    add(['filesystem', 'privileges', 'syscalls'], probe.landlock.reason, [probe.landlock.cure]);
  const causes = new Map<string, { names: GuaranteeName[]; cure: string }>();
  for (const { power, reason, cure } of lacks) {
    const name = power === 'kill' ? 'lifetime' : power;
    const known = causes.get(reason);
    causes.set(reason, { names: [...(known?.names ?? []), name], cure });
  }
  for (const [reason, { names, cure }] of causes) add(names, reason, groupSteps(machine, names, cure));
  if (!probe.ownUsers.works) add(['user'], probe.ownUsers.reason, [probe.ownUsers.cure]);
  const syscalls = containment.find(({ name }) => name === 'syscalls');
  if (engine !== 'none' && syscalls?.state === 'none') {
    add(['syscalls'], syscalls.by, ['run the host on x86-64 or 64-bit ARM, with the Node of that architecture']);
  }
  return remedies;
}

/** AppArmor profile that lets bubblewrap, and bubblewrap alone, make user namespaces. @see apparmor.d(5) */
export const APPARMOR_PROFILE = `abi <abi/4.0>,
include <tunables/global>

profile bwrap /usr/bin/bwrap flags=(unconfined) {
  userns,

  include if exists <local/bwrap>
}`;

/** Drop-in that gives a unit the control groups below its own. @see systemd.resource-control(5) */
export const DELEGATION_DROP_IN = `[Service]
Delegate=yes`;

/** What the firmware of a Raspberry Pi leaves off. */
export const PI_BOOT_FLAGS = 'cgroup_enable=memory cgroup_memory=1';

/** What a container needs so that bubblewrap works in it. */
export const DOCKER_OPTIONS = '--security-opt seccomp=unconfined --security-opt systempaths=unconfined';

function namespaceSteps(machine: Machine, { reason, cure }: { reason: string; cure: string }): string[] {
  if (/not installed|newer/.test(`${reason} ${cure}`)) return [cure];
  if (machine.container !== undefined) {
    return [
      `this is a container, by ${machine.container}: start it with ${DOCKER_OPTIONS}`,
      'or with a seccomp profile of your own that permits mount, umount2, pivot_root, unshare, clone and clone3 with ' +
        'namespaces; where AppArmor confines containers, with --security-opt apparmor=unconfined as well',
      'or let a container of its own run each module: run = "external" in [modules.NAME], see the README',
    ];
  }
  if (machine.appArmorRestrictsNamespaces) {
    return [
      `write /etc/apparmor.d/bwrap:\n${APPARMOR_PROFILE}`,
      'apparmor_parser --replace /etc/apparmor.d/bwrap',
      'or for every program: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
    ];
  }
  if (machine.namespacesOff?.startsWith('kernel.') === true) {
    return [
      'sysctl -w kernel.unprivileged_userns_clone=1',
      'to keep it: echo kernel.unprivileged_userns_clone=1 > /etc/sysctl.d/60-modhost.conf',
    ];
  }
  if (machine.namespacesOff !== undefined) {
    return [
      'sysctl -w user.max_user_namespaces=15000',
      'to keep it: echo user.max_user_namespaces=15000 > /etc/sysctl.d/60-modhost.conf',
    ];
  }
  return [cure];
}

function groupSteps(machine: Machine, names: readonly GuaranteeName[], cure: string): string[] {
  if (names.includes('memory') && machine.memoryController === false) {
    const file = machine.board?.startsWith('Raspberry Pi') === true ? '/boot/firmware/cmdline.txt' : 'the boot loader';
    return [
      `add to the one line of ${file} (older systems: /boot/cmdline.txt): ${PI_BOOT_FLAGS}`,
      'boot again; until then the host watches the memory of its modules and ends one that has grown past its limit',
    ];
  }
  if (machine.hasSystemd) {
    return [
      'run the host as a unit: `modhost unit` prints one that has this already. For a unit of your own write ' +
        `/etc/systemd/system/modhost.service.d/delegate.conf:\n${DELEGATION_DROP_IN}`,
      'systemctl daemon-reload && systemctl restart modhost',
      'this command sees what its own shell may do; to see what a unit may: ' +
        'systemd-run --pipe --wait --property=Delegate=yes modhost doctor',
    ];
  }
  if (machine.container !== undefined) {
    return [
      'limit the container itself (docker run --memory, --cpus, --pids-limit), or run each module in one of its own',
    ];
  }
  return [cure];
}
