/** Installs the RPC clients that the interop tests drive, ahead of them; `npm run setup -- --ci` calls it. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { clientsPresence, INSTALLED, PYTHON } from './clients.js';

const here = fileURLToPath(new URL('.', import.meta.url));

mkdirSync(INSTALLED, { recursive: true });
for (const list of ['package.json', 'package-lock.json']) copyFileSync(join(here, list), join(INSTALLED, list));
const npm = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
execFileSync('npm', npm, { cwd: INSTALLED, stdio: 'inherit' });
const pip = [
  '-m',
  'pip',
  'install',
  '-q',
  '--disable-pip-version-check',
  '--no-deps',
  '--use-pep517',
  '--require-hashes',
];
execFileSync('/usr/bin/python3', ['-m', 'venv', '--clear', join(INSTALLED, 'python')], { stdio: 'inherit' });
execFileSync(PYTHON, [...pip, '-r', join(here, 'requirements.txt')], { stdio: 'inherit' });

const presence = await clientsPresence();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
