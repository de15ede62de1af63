import { randomInt } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import type { GuaranteeName } from '../contract/guarantee.js';
import type { Logger } from '../core/logger.js';
import type { LayBait } from './bait.js';
import { createBubblewrapEngine } from './bubblewrap.js';
import { tryContainment } from './canary.js';
import { type GroupLack, groupNameOf, openResourceGroups } from './cgroup/open.js';
import { claimedContainment, triedContainment } from './containment.js';
import { inheritableDescriptors } from './descriptors.js';
import type { ModuleIdentity, SandboxEngine } from './engine.js';
import type { ResourceGroups } from './group.js';
import { FIRST_MODULE_UID, MODULE_UIDS } from './identity.js';
import { createLandlockEngine } from './landlock.js';
import { createUnconfinedEngine } from './none.js';
import { findOpenSockets } from './open-sockets.js';
import { type Ability, probeSandbox, type RunOnce, type SandboxProbe } from './probe.js';
import { seccompFilter } from './seccomp/filter.js';

/** What the choice of an engine needs. */
export interface SandboxOptions {
  /** Directory of the host, its own; a short-lived canary and the sandbox's /etc are made in it. */
  readonly runDir: string;
  readonly run: RunOnce;
  readonly layBait: LayBait;
  readonly logger: Logger;
  /** False = no control groups are made, as if this machine had none to give. Default true. */
  readonly controlGroups?: boolean;
  /** Controllers that groups leave alone, for example `memory`. Default none. */
  readonly withoutControllers?: readonly string[];
}

/** The best engine of this machine, and what was found out on the way. */
export interface Sandbox {
  /** Its `containment` is the whole vector: engine, control groups and watch, as far as they were tried. */
  readonly engine: SandboxEngine;
  readonly probe: SandboxProbe;
  /** True when each module gets a user of its own: the caller must hand an identity to every spec. */
  readonly ownUsers: boolean;
  /** Control groups for spawns; undefined where the host can make none. */
  readonly groups: ResourceGroups | undefined;
  /** What control groups cannot do here. */
  readonly lacks: readonly GroupLack[];
  /** What would help, by the guarantee that it would help. */
  readonly cures: ReadonlyMap<GuaranteeName, string>;
}

/** Users of the canary and of its neighbour: the first ones behind those of modules. */
const CANARY: ModuleIdentity = { uid: FIRST_MODULE_UID + MODULE_UIDS, gid: FIRST_MODULE_UID + MODULE_UIDS };
const NEIGHBOUR: ModuleIdentity = { uid: CANARY.uid + 1, gid: CANARY.gid + 1 };

/** How many users the canary that tries limits is drawn from. */
const HOG_UIDS = 1_000_000;

/**
 * User of the canary that tries limits. Its processes are counted by user, so that of two hosts that open at the same
 * time each needs another one: the second could start nothing, and would have tried nothing.
 */
function drawHog(): ModuleIdentity {
  const uid = NEIGHBOUR.uid + 1 + randomInt(HOG_UIDS);
  return { uid, gid: uid };
}

/**
 * Opens the best that this machine has: bubblewrap, else Landlock, else nothing but rlimits, each with control groups where
 * the host may make them. What was opened has confined a canary, and its containment says what the canary could and could
 * not do. Whether that is enough for a module is for `assertMinimum` to say: a host runs in any case, and tells.
 */
export async function openSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { run, logger, controlGroups = true } = options;
  const runDir = await realpath(options.runDir);
  const [probe, opened] = await Promise.all([
    probeSandbox(run),
    controlGroups
      ? openResourceGroups({ name: groupNameOf(runDir), run, logger, without: options.withoutControllers ?? [] })
      : { groups: undefined, lacks: switchedOff() },
  ]);
  const { groups, lacks } = opened;
  const failures = new Map<string, Ability>();
  for (const { engine, ownUsers, rlimits, isHiding } of await ladder(probe, runDir)) {
    const claimed = claimedContainment(engine.containment(), { groups: groups?.powers, rlimits });
    const answer = await tryContainment({
      engine,
      run,
      layBait: options.layBait,
      runDir,
      identity: ownUsers ? CANARY : undefined,
      neighbour: ownUsers ? NEIGHBOUR : undefined,
      hog: ownUsers ? drawHog() : undefined,
      groups,
      node: process.execPath,
      openSockets: isHiding ? [] : findOpenSockets(),
      claimed: new Set(claimed.flatMap(({ name, state }) => (state === 'enforced' ? [name] : []))),
    });
    if ('failure' in answer) {
      const { failure } = answer;
      logger.warn({ engine: engine.name, failure }, 'a sandbox that should work did not run its canary');
      failures.set(engine.name, { works: false, reason: failure, cure: `see the message of ${engine.name}` });
      if (engine.name !== 'none') continue;
    }
    const containment = 'trials' in answer ? triedContainment(claimed, answer.trials) : claimed;
    const cures = curesOf(probe, lacks, engine.name, failures);
    for (const { name, state } of containment) if (state === 'enforced') cures.delete(name);
    return { engine: { ...engine, containment: () => containment }, probe, ownUsers, groups, lacks, cures };
  }
  throw new Error('the last rung of the ladder is always there');
}

/** One way to confine. */
interface Rung {
  readonly engine: SandboxEngine;
  readonly ownUsers: boolean;
  readonly rlimits: boolean;
  /** True when the sandbox shows none of the machine's paths, and so none of its sockets. */
  readonly isHiding: boolean;
}

/** What this machine can do, the best first; the last one always works. */
async function ladder(probe: SandboxProbe, runDir: string): Promise<Rung[]> {
  const { bubblewrap, landlock, tools } = probe;
  const ownUsers = probe.ownUsers.works;
  const filter = (options: { network: boolean }): Uint8Array | undefined => seccompFilter(process.arch, options);
  const shared = { runDir, ownUsers, filter, inherited: inheritableDescriptors };
  const rungs: Rung[] = [];
  if (bubblewrap.works && tools.works) {
    const engine = await createBubblewrapEngine({ ...shared, bwrap: bubblewrap.path });
    rungs.push({ engine, ownUsers, rlimits: true, isHiding: true });
  }
  if (landlock.works && tools.works) {
    const engine = createLandlockEngine({ ...shared, python: landlock.path, abi: landlock.abi });
    rungs.push({ engine, ownUsers, rlimits: true, isHiding: false });
  }
  const hasTools = tools.works;
  const engine = createUnconfinedEngine({ hasTools, ownUsers, inherited: inheritableDescriptors, runDir });
  return [...rungs, { engine, ownUsers: ownUsers && hasTools, rlimits: hasTools, isHiding: false }];
}

function switchedOff(): GroupLack[] {
  const reason = 'control groups are switched off';
  return (['memory', 'cpu', 'pids', 'kill'] as const).map((power) => ({ power, reason, cure: 'switch them on' }));
}

/** What would help where something is not enforced; a guarantee that holds is simply not asked for. */
function curesOf(
  probe: SandboxProbe,
  lacks: readonly GroupLack[],
  engine: string,
  failures: ReadonlyMap<string, Ability>,
): Map<GuaranteeName, string> {
  const cures = new Map<GuaranteeName, string>();
  const help = (ability: Ability | undefined, ...names: GuaranteeName[]): void => {
    if (ability === undefined || ability.works) return;
    for (const name of names) if (!cures.has(name)) cures.set(name, `${ability.reason}: ${ability.cure}`);
  };
  const contained = ['filesystem', 'network', 'processes', 'privileges', 'syscalls', 'lifetime', 'open_files'] as const;
  help(probe.tools, ...contained, 'user', 'pids');
  help(probe.ownUsers, 'user');
  if (engine !== 'bubblewrap') {
    help(failures.get('bubblewrap'), ...contained);
    help(probe.bubblewrap, ...contained);
  }
  if (engine === 'none') help(failures.get('landlock'), ...contained);
  for (const { power, reason, cure } of lacks) {
    if (power === 'kill') help({ works: false, reason, cure }, 'lifetime');
    else help({ works: false, reason, cure }, power);
  }
  return cures;
}
