import { existsSync } from 'node:fs';
import { SYSTEM_PATH } from '../launch-chain.js';
import { findProgram, type RunOnce } from '../probe.js';

/** Exists exactly when systemd runs the machine. @see sd_booted(3) */
const SYSTEMD_RUNS = '/run/systemd/system';

/** The unit of a process, read from its control group's path. */
export interface Unit {
  /** For example `modhost.service`. */
  readonly name: string;
  /** True when a user's own systemd runs it. */
  readonly ofUser: boolean;
}

/** The unit that a control group belongs to: the deepest service or scope of its path; undefined when none is named. */
export function unitOf(groupPath: string): Unit | undefined {
  const parts = groupPath.split('/').filter((part) => part !== '');
  const at = parts.findLastIndex((part) => /\.(?:service|scope)$/.test(part));
  const name = parts[at];
  if (name === undefined) return undefined;
  return { name, ofUser: parts.slice(0, at).some((part) => /^user@[0-9]+\.service$/.test(part)) };
}

/**
 * Whether the host may make groups below its own: where systemd runs, there is one writer for each part of the tree, and
 * a unit's part belongs to the unit only by `Delegate=`.
 *
 * @returns undefined when it may; else why not
 * @see     systemd, "Control Group APIs and Delegation"
 */
export async function whyNotDelegated(groupPaths: readonly string[], run: RunOnce): Promise<string | undefined> {
  if (!existsSync(SYSTEMD_RUNS)) return undefined;
  const unit = groupPaths.map(unitOf).find((found) => found !== undefined);
  const isRoot = process.getuid?.() === 0;
  const answer = unit === undefined ? undefined : await askSystemd(unit, run);
  if (answer === 'yes') return undefined;
  // who cannot ask and may write nonetheless was given the directory by somebody
  if (answer === undefined && !isRoot) return undefined;
  return `systemd keeps the control groups of this machine, and has delegated none to ${unit?.name ?? 'the host'}`;
}

async function askSystemd({ name, ofUser }: Unit, run: RunOnce): Promise<string | undefined> {
  const systemctl = findProgram('systemctl');
  if (systemctl === undefined) return undefined;
  const env: Record<string, string> = { PATH: SYSTEM_PATH };
  if (ofUser) env.XDG_RUNTIME_DIR = `/run/user/${process.getuid?.() ?? 0}`;
  const { code, stdout } = await run({
    file: systemctl,
    args: [...(ofUser ? ['--user'] : []), 'show', '--property=Delegate', '--value', name],
    env,
    cwd: '/',
    inputs: new Map(),
    nested: false,
    gate: undefined,
  });
  const word = stdout.trim();
  return code === 0 && word !== '' ? word : undefined;
}
