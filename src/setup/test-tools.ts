import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.js';
import { createStamp } from './stamp.js';
import type { Step } from './step.js';

/**
 * What only the tests need: other people's programs that judge ours. Each is prepared by the test folder that uses it,
 * in a `prepare.ts` of its own, so that its version is pinned in one place.
 */
export function testTools(root: string): Step[] {
  return [
    preparation(root, 'btcd for the interop tests', 'test/interop', 'two minutes'),
    preparation(root, 'Bitcoin RPC clients for the interop tests', 'test/interop/clients', 'half a minute'),
    preparation(root, 'Stratum V2 programs for the interop tests', 'test/interop/stratum', 'a quarter of an hour', [
      'modules/stratum-v2',
    ]),
    preparation(root, "Bitcoin Core's engine for the oracle tests", 'test/oracle', 'a minute'),
    preparation(root, 'a C compiler for the escape probes', 'test/sandbox/escape', 'a minute'),
    preparation(root, 'groff for the manual page', 'test/cli', 'half a minute'),
    preparation(root, 'strace for the tests of storage', 'test/services/storage', 'half a minute'),
    preparation(root, "Prometheus' parser for the tests of /metrics", 'test/prometheus', 'a minute'),
  ];
}

function preparation(root: string, name: string, folder: string, usual: string, further: string[] = []): Step {
  const script = `${folder}/prepare.ts`;
  return {
    name,
    usual,
    obstacle: existsSync(join(root, script)) ? undefined : 'it is not part of this checkout',
    stamp: createStamp({ root, name: folder.replaceAll('/', '-'), inputs: [folder, ...further], outputs: [script] }),
    work: () => run(join(root, 'node_modules/.bin/tsx'), [join(root, script)], { cwd: root }),
  };
}
