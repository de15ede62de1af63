import { HostError } from '../contract/error.js';
import type { Logger } from '../core/logger.js';
import { createBubblewrapEngine } from './bubblewrap.js';
import { tryContainment } from './canary.js';
import { inheritableDescriptors } from './descriptors.js';
import type { SandboxEngine } from './engine.js';
import { FIRST_MODULE_UID, MODULE_UIDS } from './identity.js';
import { createUnconfinedEngine } from './none.js';
import { probeSandbox, type RunOnce, type SandboxProbe } from './probe.js';

/** The least confinement under which the operator lets modules run. */
export const SANDBOX_MINIMUMS = ['bubblewrap', 'none'] as const;

/** One of `SANDBOX_MINIMUMS`. */
export type SandboxMinimum = (typeof SANDBOX_MINIMUMS)[number];

/** What the choice of an engine needs. */
export interface SandboxOptions {
  readonly minimum: SandboxMinimum;
  /** Directory of the host, its own; a short-lived canary and the sandbox's /etc are made in it. */
  readonly runDir: string;
  readonly run: RunOnce;
  readonly logger: Logger;
}

/** The best engine of this machine, and what was found out on the way. */
export interface Sandbox {
  readonly engine: SandboxEngine;
  readonly probe: SandboxProbe;
  /** True when each module gets a user of its own: the caller must hand an identity to every spec. */
  readonly ownUsers: boolean;
}

/**
 * Chooses the engine: bubblewrap wherever it works, whatever the minimum; none only where the operator allowed it. The
 * chosen one has confined a canary, and its containment says what the canary could and could not do.
 *
 * @throws HostError SANDBOX_UNAVAILABLE naming what lacks and the cure
 */
export async function openSandbox({ minimum, runDir, run, logger }: SandboxOptions): Promise<Sandbox> {
  const probe = await probeSandbox(run);
  const ownUsers = probe.ownUsers.works;
  const missing = [probe.bubblewrap, probe.tools].flatMap((ability) => (ability.works ? [] : [ability]));
  if (probe.bubblewrap.works && probe.tools.works) {
    const options = { bwrap: probe.bubblewrap.path, runDir, ownUsers, inherited: inheritableDescriptors };
    const canaryId = FIRST_MODULE_UID + MODULE_UIDS;
    const answer = await tryContainment(
      await createBubblewrapEngine({ ...options, tried: new Map() }),
      run,
      runDir,
      ownUsers ? { uid: canaryId, gid: canaryId } : undefined,
    );
    if ('tried' in answer) {
      const engine = await createBubblewrapEngine({ ...options, tried: answer.tried });
      const broken = [...answer.tried].flatMap(([name, held]) => (held ? [] : [name]));
      if (broken.length === 0 || minimum === 'none') return { engine, probe, ownUsers };
      missing.push({
        works: false,
        reason: `the sandbox does not hold: ${broken.join(', ')}`,
        cure: 'report it to modhost',
      });
    } else missing.push({ works: false, reason: answer.failure, cure: 'see the message of bubblewrap' });
  }
  const reasons = missing.map(({ reason, cure }) => `${reason} (${cure})`).join('; ');
  if (minimum !== 'none') {
    throw new HostError(
      'SANDBOX_UNAVAILABLE',
      `modules cannot be confined on this machine: ${reasons}. To run them without any confinement, set sandbox.minimum = "none"`,
    );
  }
  logger.warn({ reasons }, 'modules run WITHOUT confinement: sandbox.minimum = "none"');
  const hasTools = probe.tools.works;
  const engine = createUnconfinedEngine({ hasTools, ownUsers, inherited: inheritableDescriptors });
  return { engine, probe, ownUsers: ownUsers && hasTools };
}
