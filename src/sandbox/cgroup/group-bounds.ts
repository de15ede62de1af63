import { HostError } from '../../contract/error.js';

/** Bytes of one MiB. */
export const MIB = 1024 * 1024;

/** Period over which a share of processor time is granted, microseconds; the kernel's own default. */
export const CPU_PERIOD_US = 100_000;

/**
 * What all modules together weigh for the scheduler where they want more than there is, in percent of a plain process such
 * as the host: it answers all of them, so what one of them takes from it is taken from all. An idle processor is theirs.
 */
export const MODULES_CPU_PERCENT = 25;

/** Processes of the sandbox itself that live in a module's group beside it: bubblewrap outside and inside. */
export const OWN_PROCESSES = 2;

/** Longest name of a group; the kernel allows 255. */
const MAX_NAME_CHARS = 200;

/**
 * Name of a spawn's directory.
 *
 * @throws HostError INTERNAL for what could name anything else than one directory below
 */
export function groupDirName(instanceId: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(instanceId) || instanceId.length > MAX_NAME_CHARS) {
    throw new HostError('INTERNAL', `${JSON.stringify(instanceId)} cannot name a control group`);
  }
  return `mod-${instanceId}`;
}
