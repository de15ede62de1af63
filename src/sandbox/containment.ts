import type { GuaranteeName } from '../contract/guarantee.js';
import type { Bounded } from './engine.js';
import type { GroupPowers } from './group.js';
import { type Guarantee, guarantees } from './guarantee.js';

/** What the canary found of each guarantee: what it could do though it must not; empty = the guarantee held. */
export type Trials = ReadonlyMap<GuaranteeName, readonly string[]>;

/** Which limits of a spawn its control group holds. */
export function boundedBy(powers: GroupPowers | undefined): Bounded {
  return { memory: powers?.memory !== undefined, pids: powers?.pids !== undefined };
}

/** What else than the engine holds a module's resources. */
export interface ResourcePowers {
  /** Undefined where the host can make no control groups. */
  readonly groups: GroupPowers | undefined;
  /** True when the chain sets rlimits. */
  readonly rlimits: boolean;
}

/**
 * The whole vector of a machine before it was tried: what the engine claims, what control groups bound, and for the rest
 * the host's own watch, which measures and ends a module that has grown past its limit.
 */
export function claimedContainment(engine: readonly Guarantee[], { groups, rlimits }: ResourcePowers): Guarantee[] {
  const known = new Map<GuaranteeName, Omit<Guarantee, 'name'>>(engine.map(({ name, ...rest }) => [name, rest]));
  const set = (name: GuaranteeName, by: string | undefined, watchedBy: string): void => {
    if (by !== undefined) known.set(name, { state: 'enforced', by, verified: false });
    else if (known.get(name)?.state !== 'enforced')
      known.set(name, { state: 'watched', by: watchedBy, verified: false });
  };
  const each = rlimits ? ', RLIMIT_DATA bounds each process' : '';
  set('memory', groups?.memory, `the host's watch, which ends a module that is over its limit${each}`);
  set('cpu', groups?.cpu, "the host's watch, which gives a module that is over its share the lowest priority");
  set('disk', undefined, "the host's watch, which ends a module that is over its limit, RLIMIT_FSIZE bounds each file");
  if (groups?.pids !== undefined) known.set('pids', { state: 'enforced', by: groups.pids, verified: false });
  else if (known.get('pids')?.state !== 'enforced') {
    // the host counts and warns; nothing would come of it
    const by = 'neither a control group nor a user of its own counts the processes of a module';
    known.set('pids', { state: 'none', by, verified: false });
  }
  const lifetime = known.get('lifetime');
  if (lifetime?.state === 'none' && groups?.kill !== undefined) {
    const by = `the first process dies with the host; what it leaves behind, by the next start of the host (${groups.kill})`;
    known.set('lifetime', { state: 'watched', by, verified: false });
  }
  return guarantees(known, 'nothing on this machine answers for it');
}

/** The vector after the trial: what was tried and held is verified, what was tried and did not hold is `none` with what was done. */
export function triedContainment(claimed: readonly Guarantee[], trials: Trials): Guarantee[] {
  return claimed.map((claim) => {
    const broken = trials.get(claim.name);
    if (broken === undefined || claim.state !== 'enforced') return claim;
    if (broken.length === 0) return { ...claim, verified: true };
    const acts = broken.slice(0, MAX_ACTS).join(', ');
    return {
      ...claim,
      state: 'none',
      by: `${claim.by}: was tried and did not hold, a module could ${acts}`,
      verified: false,
    };
  });
}

/** Acts that one guarantee is told with: one is enough to know that it does not hold. */
const MAX_ACTS = 3;
