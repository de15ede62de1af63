import { createHash } from 'node:crypto';
import type { Logger } from '../../core/logger.js';
import type { GroupPowers, ResourceGroups } from '../group.js';
import type { RunOnce } from '../probe.js';
import { removeEmpty } from './clear-groups.js';
import { whyNotDelegated } from './delegation.js';
import { createGroupTree, type GroupTree } from './group-tree.js';
import { findOwnGroups, type OwnGroups } from './hierarchies.js';
import { createV1Groups, V1_CONTROLLERS } from './v1.js';
import { createV2Groups, V2_CONTROLLERS } from './v2.js';

/** A power that control groups do not give on this machine. */
export interface GroupLack {
  readonly power: keyof GroupPowers;
  /** Why, for people. */
  readonly reason: string;
  /** What the operator can do, for people. */
  readonly cure: string;
}

/** Control groups of a host, and what they cannot do. */
export interface OpenedGroups {
  /** Undefined where the host may make none at all; `lacks` names every power then. */
  readonly groups: ResourceGroups | undefined;
  readonly lacks: readonly GroupLack[];
}

/** What the choice of control groups needs. */
export interface GroupOptions {
  /** Name of the host, one and the same at each of its starts: see `groupNameOf`. */
  readonly name: string;
  readonly run: RunOnce;
  readonly logger: Logger;
  /** Controllers to leave alone, as if the kernel had none of them. */
  readonly without?: readonly string[];
  /** The machine's groups; a test may hand in a double. */
  readonly tree?: GroupTree;
}

/** Hex digits of a host's name: no two hosts of one machine will share them. */
const NAME_DIGITS = 16;

const CURES = {
  delegate: 'run the host as a systemd unit with `Delegate=yes`',
  write: 'give the host a control group that belongs to its user: as a systemd unit with `Delegate=yes`',
  mount: 'mount the control groups: /sys/fs/cgroup',
  memory:
    'switch the memory controller on: add `cgroup_enable=memory` to the kernel command line (Raspberry Pi: /boot/firmware/cmdline.txt) and boot again',
  controller: 'let the unit have it: `Delegate=cpu memory pids`, or a kernel that has it',
  alone: 'start the host in a control group of its own: as a systemd unit with `Delegate=yes`',
} as const;

/** Name of a host for its groups, made from a directory that belongs to it alone. */
export function groupNameOf(directory: string): string {
  return createHash('sha256').update(directory).digest('hex').slice(0, NAME_DIGITS);
}

/**
 * Opens the control groups below the host's own: version 2 where it has controllers to give, else version 1. Where only
 * some of them can be had, groups have only some powers. Never rejects: what is missing is told by `lacks`.
 */
export async function openResourceGroups(options: GroupOptions): Promise<OpenedGroups> {
  const { run, logger, tree = createGroupTree() } = options;
  const hostDirName = `modhost-${options.name}`;
  const own = findOwnGroups(tree);
  if (own.v1.size === 0 && own.v2 === undefined) {
    return none('no control groups are mounted here', CURES.mount);
  }
  const obstacle = await whyNotDelegated(own.paths, run);
  if (obstacle !== undefined) return none(obstacle, CURES.delegate);
  const isWanted = (controller: string): boolean => !(options.without ?? []).includes(controller);
  const opened = V1_CONTROLLERS.some((controller) => own.v1.has(controller))
    ? openV1(tree, own, hostDirName, isWanted)
    : openV2(tree, own.v2, hostDirName, isWanted);
  const { groups, lacks } = opened;
  if (groups !== undefined) logger.debug({ powers: groups.powers }, 'control groups opened');
  for (const { power, reason } of lacks) logger.debug({ power, reason }, 'control groups lack a power');
  return opened;
}

function openV1(
  tree: GroupTree,
  own: OwnGroups,
  hostDirName: string,
  isWanted: (controller: string) => boolean,
): OpenedGroups {
  const reasons = new Map<string, { reason: string; cure: string }>();
  const usable = new Map<string, string>();
  for (const controller of V1_CONTROLLERS) {
    const dir = own.v1.get(controller);
    if (dir === undefined || !isWanted(controller)) {
      const cure = controller === 'memory' ? CURES.memory : CURES.controller;
      reasons.set(controller, { reason: `the kernel offers no ${controller} controller here`, cure });
    } else if (!canMake(tree, dir, hostDirName)) {
      reasons.set(controller, { reason: `${dir} is not writable for the host's user`, cure: CURES.write });
    } else usable.set(controller, dir);
  }
  // to move a process within version 2 one must be able to write to the group above both places: the host's own
  const unified =
    own.v2 !== undefined && tree.isWritable(`${own.v2}/cgroup.procs`) && canMake(tree, own.v2, hostDirName)
      ? own.v2
      : undefined;
  if (usable.size === 0 && unified === undefined) {
    const [first] = reasons.values();
    return none(first?.reason ?? 'no control group can be made here', first?.cure ?? CURES.write);
  }
  const groups = createV1Groups({ tree, own: usable, unified, hostDirName });
  return { groups, lacks: lacksOf(groups.powers, (power) => reasons.get(power)) };
}

function openV2(
  tree: GroupTree,
  own: string | undefined,
  hostDirName: string,
  isWanted: (controller: string) => boolean,
): OpenedGroups {
  if (own === undefined) return none('no control groups are mounted here', CURES.mount);
  if (!tree.isWritable(own) || !tree.isWritable(`${own}/cgroup.procs`)) {
    return none(`${own} is not writable for the host's user`, CURES.write);
  }
  const controllers = V2_CONTROLLERS.filter(isWanted);
  const answer = createV2Groups({ tree, own, hostPid: process.pid, hostDirName, controllers });
  if ('reason' in answer) return none(answer.reason, CURES.alone);
  const { groups } = answer;
  return {
    groups,
    lacks: lacksOf(groups.powers, (power) => ({
      reason: `the ${power} controller is not offered to the host's control group`,
      cure: power === 'memory' ? `${CURES.controller}; or ${CURES.memory}` : CURES.controller,
    })),
  };
}

/** Tried by doing: permissions, read-only mounts and security modules all can forbid it. */
function canMake(tree: GroupTree, dir: string, name: string): boolean {
  try {
    tree.makeGroup(`${dir}/${name}`);
  } catch {
    return false;
  }
  removeEmpty(tree, [`${dir}/${name}`]);
  return true;
}

const POWERS = ['memory', 'cpu', 'pids', 'kill'] as const satisfies readonly (keyof GroupPowers)[];

function lacksOf(
  powers: GroupPowers,
  why: (power: keyof GroupPowers) => { reason: string; cure: string } | undefined,
): GroupLack[] {
  return POWERS.flatMap((power) => {
    if (powers[power] !== undefined) return [];
    return [{ power, ...(why(power) ?? { reason: 'no control group gives it', cure: CURES.write }) }];
  });
}

function none(reason: string, cure: string): OpenedGroups {
  return { groups: undefined, lacks: POWERS.map((power) => ({ power, reason, cure })) };
}
