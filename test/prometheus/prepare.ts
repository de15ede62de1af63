/** Installs Prometheus' own parser for Python, ahead of the tests; `npm run setup -- --ci` calls it. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { hasParser, VENV } from './parser.js';

const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url));

if (!(await hasParser())) {
  const pip = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--only-binary=:all:', '-r', requirements];
  execFileSync('/usr/bin/python3', ['-m', 'venv', '--clear', VENV], { stdio: 'inherit' });
  execFileSync(`${VENV}/bin/python`, pip, { stdio: 'inherit' });
}
if (!(await hasParser())) {
  process.stderr.write(`${VENV}/bin/python cannot import prometheus_client.parser\n`);
  process.exitCode = 1;
}
