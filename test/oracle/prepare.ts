/** Fetches Bitcoin Core's engine for the oracle tests, ahead of them; `npm run setup -- --ci` calls it. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { enginePresence } from './engine.js';

const venv = fileURLToPath(new URL('../../.cache/venv-oracle', import.meta.url));
const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url));

if (!(await enginePresence()).available) {
  const pip = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--only-binary=:all:', '-r', requirements];
  execFileSync('/usr/bin/python3', ['-m', 'venv', '--clear', venv], { stdio: 'inherit' });
  execFileSync(`${venv}/bin/python`, pip, { stdio: 'inherit' });
}
const presence = await enginePresence();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
