import { spawn } from 'node:child_process';
import { chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { processesWith } from './obedient.js';

/** An ordinary user, who owns nothing on this machine but what the test gives him. */
const USER = 4242;
const MARKER = 'USER_MARKER';

const { skip } = await sandboxToolchain();
const isRoot = process.getuid?.() === 0;

it.skipIf(skip || !isRoot)(
  'a host of an ordinary user supervises as one of root does, and leaves nothing',
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mh-user-'));
    chownSync(dir, USER, USER);
    const marker = `${process.pid}-${USER}`;
    const program = new URL('./supervised-program.ts', import.meta.url).pathname;
    const user = ['--reuid', `${USER}`, '--regid', `${USER}`, '--clear-groups', '--'];
    const child = spawn('setpriv', [...user, process.execPath, '--import', 'tsx', program, MARKER, marker], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, HOME: dir, TMPDIR: dir },
    });
    const printed = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        printed[name] += text;
      });
    }
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect([code, printed.stderr]).toEqual([0, '']);
    // state, crashes, restarts, last error
    expect(JSON.parse(printed.stdout)).toEqual([
      ['killed', 'RUNNING', 1, 1, ErrorReason.MODULE_CRASHED],
      ['hung', 'RUNNING', 1, 1, ErrorReason.MODULE_HUNG],
      ['forked', 'RUNNING', 0, 1, 0],
      ['looping', 'QUARANTINED', 2, 1, ErrorReason.MODULE_CRASHED],
      ['removed', 'STOPPED', 1, 0, ErrorReason.MODULE_CRASHED],
    ]);
    expect(processesWith(MARKER, marker)).toEqual([]);
    expect(readdirSync(dir).filter((name) => name.startsWith('mh-'))).toEqual([]);
    rmSync(dir, { recursive: true, force: true });
  },
);
