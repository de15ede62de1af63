import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findProgram, run } from '../../src/setup/command.js';
import { installPackages, SYSTEM_PACKAGES } from '../../src/setup/packages.js';
import type { Terminal } from '../../src/setup/terminal.js';

const main = fileURLToPath(new URL('../../src/setup/main.ts', import.meta.url));
const tsx = fileURLToPath(new URL('../../node_modules/.bin/tsx', import.meta.url));

describe('the system packages of setup', () => {
  let dir: string;
  let lines: string[];
  const terminal: Terminal = {
    say: (line) => void lines.push(line),
    agree: async () => false,
  };

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'modhost-setup-'));
    lines = [];
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(dir, { recursive: true, force: true });
  });

  it('names each that is missing and why, and installs none without a yes', async () => {
    vi.stubEnv('PATH', dir);
    const { missing } = await installPackages(false, terminal);
    const names = missing.map(({ name }) => name);
    expect(names).toContain('bubblewrap');
    expect(names).toContain('util-linux');
    for (const { name, why, required } of missing) {
      const line = lines.find((said) => said.trim().startsWith(name)) ?? '';
      expect(line).toContain(why);
      expect(line).toContain(required ? 'required' : 'optional');
    }
    expect(lines.join('\n')).not.toContain('installed:');
  });

  it('calls optional what the host can do without', () => {
    expect(SYSTEM_PACKAGES.filter(({ required }) => required).map(({ name }) => name)).toEqual([
      'bubblewrap',
      'util-linux',
    ]);
  });

  it('finds a program by PATH alone', async () => {
    symlinkSync('/bin/sh', join(dir, 'bwrap'));
    vi.stubEnv('PATH', dir);
    expect(findProgram('bwrap')).toBe(join(dir, 'bwrap'));
    expect(findProgram('setpriv')).toBeUndefined();
  });

  it('tells a program that is not there from one that fails', async () => {
    expect(await run(join(dir, 'nothing'), [])).toMatchObject({ ok: false });
    expect(await run('/bin/sh', ['-c', 'echo one; echo two >&2; exit 3'])).toMatchObject({ ok: false });
    expect((await run('/bin/sh', ['-c', 'printf "a\\nb\\n"'])).tail).toBe('a\nb');
  });

  it('answers --help with 0 and an unknown word with 2', () => {
    const help = spawnSync(tsx, [main, '--help'], { encoding: 'utf8' });
    expect([help.status, help.stdout]).toEqual([0, expect.stringContaining('--yes')]);
    const wrong = spawnSync(tsx, [main, '--jes'], { encoding: 'utf8' });
    expect([wrong.status, wrong.stdout]).toEqual([2, expect.stringContaining('usage:')]);
  });
});
