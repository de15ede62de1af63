import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.js';
import { createStamp } from './stamp.js';
import type { Step } from './step.js';

/** Compiles the host, its CLI and the TypeScript SDK into `dist/`. */
export function product(root: string): Step {
  return {
    name: 'modhost',
    usual: 'ten seconds',
    stamp: createStamp({
      root,
      name: 'product',
      inputs: ['src', 'gen/ts', 'conformance', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json'],
      outputs: ['dist/src/cli/main.js'],
    }),
    work: () => {
      // tsc leaves what it made of sources that are gone.
      rmSync(join(root, 'dist'), { recursive: true, force: true });
      return run('npm', ['run', '-s', 'build'], { cwd: root });
    },
  };
}
