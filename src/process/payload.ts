import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { delay } from '../core/delay.js';

/** How often the tree of a starting sandbox is looked at, milliseconds. */
const LOOK_EVERY_MS = 4;
/** How long the program may take to replace its launcher, milliseconds; past it the launcher is taken for the program. */
const EXEC_TIMEOUT_MS = 5000;
/** More status than this is no status, characters. */
const MAX_STATUS_CHARS = 64 * 1024;

/** The module's own process: its pid, and what tells it from a later process with the same pid. */
export interface Payload {
  readonly pid: number;
  /** Start time in clock ticks since boot, from /proc/PID/stat. */
  readonly startTicks: string;
}

/**
 * Waits until bubblewrap tells the first process of the namespace, and until that one's child has become the module's
 * program.
 *
 * @param ended aborts when the sandbox is gone
 * @returns     undefined when it ended before a program ran
 */
export async function awaitPayload(
  status: Readable,
  launchers: readonly string[],
  ended: AbortSignal,
): Promise<Payload | undefined> {
  const init = await readChildPid(status, ended);
  if (init === undefined) return undefined;
  for (let waited = 0; !ended.aborted; waited += LOOK_EVERY_MS) {
    const pid = firstChild(init);
    const found = pid === undefined ? undefined : payloadOf(pid);
    // no name: it ended between the two looks, and what it was at its end is told by `ended`
    const name = found === undefined ? undefined : commOf(found.pid);
    if (found !== undefined && name !== undefined && (waited >= EXEC_TIMEOUT_MS || !launchers.includes(name)))
      return found;
    await delay(LOOK_EVERY_MS, ended);
  }
  return undefined;
}

/** The process with this pid at this moment, or undefined. */
export function payloadOf(pid: number): Payload | undefined {
  const startTicks = statOf(pid)?.[19];
  return startTicks === undefined ? undefined : { pid, startTicks };
}

/** Sends a signal to the payload if it is still that process; never to a stranger that got its pid. */
export function signalPayload(payload: Payload, signal: NodeJS.Signals): boolean {
  if (statOf(payload.pid)?.[19] !== payload.startTicks) return false;
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
  if (statOf(leader) !== undefined) return;
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // No member is left.
  }
}

function readChildPid(status: Readable, ended: AbortSignal): Promise<number | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const done = (pid: number | undefined): void => {
      ended.removeEventListener('abort', onEnd);
      resolve(pid);
    };
    const onEnd = (): void => done(undefined);
    if (ended.aborted) return done(undefined);
    ended.addEventListener('abort', onEnd, { once: true });
    status.setEncoding('utf8');
    status.on('error', onEnd);
    status.on('data', (part: string) => {
      if (text.length < MAX_STATUS_CHARS) text += part;
      const match = /"child-pid"\s*:\s*([0-9]+)/.exec(text);
      if (match !== null) done(Number(match[1]));
    });
    status.on('end', onEnd);
  });
}

function firstChild(pid: number): number | undefined {
  const first = read(`/proc/${pid}/task/${pid}/children`)?.trim().split(' ')[0];
  return first ? Number(first) : undefined;
}

function commOf(pid: number): string | undefined {
  return read(`/proc/${pid}/comm`)?.trim();
}

/** Fields of /proc/PID/stat from the third on: the second is the name in brackets, which may hold anything. */
function statOf(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
