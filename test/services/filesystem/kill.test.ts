import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createFilesRig, MIB } from './rig.js';

/** Times that the writer is killed. */
const KILLS = 6;
/** Writes that it finishes before; and the longest wait after, so that each kill hits another place of a write. */
const WRITES = 2;
const MAX_WAIT_MS = 40;

it(`a writer that is killed ${KILLS} times leaves the old content or the new, and what it left beside is swept`, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'mhk-'));
  const staging = join(dir, 'files', 'probe', 'staging');
  try {
    for (let round = 0; round < KILLS; round += 1) {
      const program = join(import.meta.dirname, 'kill-program.ts');
      const child = spawn(process.execPath, ['--import', 'tsx', program, dir, `${round * 40}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let printed = '';
      const ended = once(child, 'close');
      child.stdout.on('data', (bytes: Buffer) => {
        printed += String(bytes);
      });
      const bytesOf = (word: string): number[] =>
        printed.split('\n').flatMap((line) => (line.startsWith(`${word} `) ? [Number(line.slice(word.length))] : []));
      await expect.poll(() => bytesOf('done').length, { timeout: 30_000, interval: 2 }).toBeGreaterThanOrEqual(WRITES);
      const waitMs = Math.random() * MAX_WAIT_MS;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      child.kill('SIGKILL');
      await ended;
      expect(readdirSync(staging).length).toBeGreaterThan(0);
      const rig = await createFilesRig({ dir });
      const content = await rig.read('f');
      const told = `killed ${waitMs} ms after ${printed}`;
      expect([told, content.byteLength]).toEqual([told, 2 * MIB]);
      expect([told, content.equals(Buffer.alloc(2 * MIB, content[0]))]).toEqual([told, true]);
      // what was acknowledged stands, unless the write after it does
      expect([bytesOf('done').at(-1), bytesOf('begin').at(-1)]).toContain(content[0]);
      expect(readdirSync(staging)).toEqual([]);
      expect(await rig.list()).toEqual(['f']);
      await rig.dispose();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
