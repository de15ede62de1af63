import { readdirSync, readFileSync } from 'node:fs';

/** Processes of the whole machine with one of these words on their command line, but for the excepted one: id and command line. */
export function processesWith(words: readonly string[], except: number | undefined): string[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name) || Number(name) === except) return [];
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, 'latin1');
      return words.some((word) => line.includes(word)) ? [`${name} ${line.replaceAll('\0', ' ')}`] : [];
    } catch {
      return [];
    }
  });
}
