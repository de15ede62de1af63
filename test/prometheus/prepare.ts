/** Installs Prometheus' own parser for Python, ahead of the tests; `npm run setup -- --ci` calls it. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parserPresence, VENV } from './parser.js';

const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url));

if (!(await parserPresence()).available) {
  const pip = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--only-binary=:all:', '-r', requirements];
  execFileSync('/usr/bin/python3', ['-m', 'venv', '--clear', VENV], { stdio: 'inherit' });
  execFileSync(`${VENV}/bin/python`, pip, { stdio: 'inherit' });
}
const presence = await parserPresence();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
