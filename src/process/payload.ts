import { readdirSync } from 'node:fs';
import { delay } from '../core/delay.js';
import { LAUNCH_WORD } from '../sandbox/gate.js';
import { PROCESS_FIELD, processFields, readText } from '../sandbox/proc.js';

/** How often the tree of a starting sandbox is looked at, milliseconds. */
const LOOK_EVERY_MS = 2;
/** How long the program may take to replace its launcher, milliseconds; past it the launcher is taken for the program. */
const EXEC_TIMEOUT_MS = 5000;
/** How long the first process of a sandbox may take to come to rest, milliseconds; it takes less than one. */
const REST_TIMEOUT_MS = 1000;

/** The module's own process: its pid, and what tells it from a later process with the same pid. */
export interface Payload {
  readonly pid: number;
  /** Start time in clock ticks since boot, from /proc/PID/stat. */
  readonly startTicks: string;
}

/**
 * The process behind the gate, which becomes the program once the gate is open.
 *
 * @param pid    the spawned process
 * @param nested as in `ConfinedCommand`
 * @param ended  aborts when the spawned process is gone
 * @returns      undefined when it has ended
 */
export async function gatedPayload(pid: number, nested: boolean, ended: AbortSignal): Promise<Payload | undefined> {
  if (!nested) return payloadOf(pid);
  const init = firstChild(pid);
  if (init === undefined) return undefined;
  await awaitRest(init, ended);
  const child = firstChild(init);
  return child === undefined ? undefined : payloadOf(child);
}

/**
 * The first process of a sandbox ties itself to bubblewrap's life before it sleeps for the rest of it. Only then may the
 * program run: an init without that tie would outlive a host that dies now.
 */
async function awaitRest(init: number, ended: AbortSignal): Promise<void> {
  for (let waited = 0; waited < REST_TIMEOUT_MS && !ended.aborted; waited += LOOK_EVERY_MS) {
    if (processFields(init)?.[PROCESS_FIELD.state] === 'S') return;
    await delay(LOOK_EVERY_MS, ended);
  }
}

/**
 * Waits until a process behind an open gate has become the program: until no word of the launch chain stands on its
 * command line, whatever the program is called.
 *
 * @returns false when it ended before anybody saw it so
 */
export async function awaitProgram(payload: Payload, ended: AbortSignal): Promise<boolean> {
  for (let waited = 0; !ended.aborted; waited += LOOK_EVERY_MS) {
    if (startTicksOf(payload.pid) !== payload.startTicks) return false;
    const line = readText(`/proc/${payload.pid}/cmdline`);
    // Empty: it has ended, and what it was at its end is told by `ended`.
    if (line && (waited >= EXEC_TIMEOUT_MS || !line.includes(LAUNCH_WORD))) return true;
    await delay(LOOK_EVERY_MS, ended);
  }
  return false;
}

/** The process with this pid at this moment, or undefined. */
export function payloadOf(pid: number): Payload | undefined {
  const startTicks = startTicksOf(pid);
  return startTicks === undefined ? undefined : { pid, startTicks };
}

/** Sends a signal to the payload if it is still that process; never to a stranger that got its pid. */
export function signalPayload(payload: Payload, signal: NodeJS.Signals): boolean {
  if (startTicksOf(payload.pid) !== payload.startTicks) return false;
  try {
    return process.kill(payload.pid, signal);
  } catch {
    return false;
  }
}

/**
 * Kills what is left of a process group whose leader is dead and reaped. The number of a group is not reused while a
 * member lives; a live process of that very number is therefore a stranger, and the group is left alone.
 */
export function killOrphanedGroup(leader: number): void {
  if (processFields(leader) !== undefined) return;
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // No member is left.
  }
}

function firstChild(pid: number): number | undefined {
  const listed = readText(`/proc/${pid}/task/${pid}/children`);
  if (listed === undefined) return searchedChild(pid);
  const first = listed.trim().split(' ')[0];
  return first ? Number(first) : undefined;
}

/** The way of kernels that are built without CONFIG_PROC_CHILDREN: every process names its parent. */
export function searchedChild(pid: number): number | undefined {
  const found = readdirSync('/proc').find(
    (name) => /^[0-9]+$/.test(name) && processFields(Number(name))?.[PROCESS_FIELD.parent] === String(pid),
  );
  return found === undefined ? undefined : Number(found);
}

function startTicksOf(pid: number): string | undefined {
  return processFields(pid)?.[PROCESS_FIELD.startTicks];
}
