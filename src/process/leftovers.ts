import { readdirSync } from 'node:fs';
import { readText } from '../sandbox/proc.js';
import { payloadOf, signalPayload } from './payload.js';

/**
 * Kills what a host that was killed has left of its launch chains: bubblewrap bears the host's word on its command line for
 * as long as a sandbox lives, so this needs no control group. A tie to the host's life is made in several steps, and
 * between two of them a kill may leave a process that waits for ever.
 *
 * To be called before the first start, by the host that holds the directory from which the word is made.
 *
 * @param word `launchWord` of the host
 * @returns    number of processes that were found and are ended
 */
export function sweepChains(word: string): number {
  // all are found before the first is killed: with the outer half of a sandbox its inner half falls by itself
  const found = readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    const payload = payloadOf(pid);
    const words = readText(`/proc/${pid}/cmdline`)?.split('\0') ?? [];
    return payload !== undefined && words.includes(word) ? [payload] : [];
  });
  for (const payload of found) signalPayload(payload, 'SIGKILL');
  return found.length;
}
