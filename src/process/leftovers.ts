import { readdirSync, readFileSync } from 'node:fs';
import { payloadOf, signalPayload } from './payload.js';

/**
 * Kills what a host that was killed has left of its launch chains: bubblewrap bears the host's word on its command line for
 * as long as a sandbox lives, so this needs no control group. A tie to the host's life is made in several steps, and
 * between two of them a kill may leave a process that waits for ever.
 *
 * To be called before the first start, by the host that holds the directory from which the word is made.
 *
 * @param word `launchWord` of the host
 * @returns    number of processes killed
 */
export function sweepChains(word: string): number {
  let killed = 0;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const found = payloadOf(pid);
    if (found !== undefined && wordsOf(pid).includes(word) && signalPayload(found, 'SIGKILL')) killed += 1;
  }
  return killed;
}

function wordsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  } catch {
    return [];
  }
}
