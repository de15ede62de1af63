import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.js';
import { createStamp } from './stamp.js';
import type { Step } from './step.js';

/** Folder of the example below the package root. */
const EXAMPLE = 'conformance/modules/typescript';
/** Where the program of the example begins. */
const ENTRY = `${EXAMPLE}/main.ts`;
/** The one file that runs in the sandbox. */
const BUNDLE = `${EXAMPLE}/build/main.mjs`;
/** gRPC is CommonJS and asks for `require`, which a module in ESM form has to make itself. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

/**
 * Bundles the TypeScript example with its stubs and gRPC into one file in its `build/`, because the sandbox shows a
 * module only `/usr` and its own folder, not the `node_modules` of the repository.
 */
export function typescriptExample(root: string): Step {
  return {
    name: 'TypeScript example',
    usual: 'a second',
    obstacle: existsSync(join(root, ENTRY)) ? undefined : 'it is not part of this checkout',
    stamp: createStamp({
      root,
      name: 'typescript-example',
      inputs: [EXAMPLE, 'gen/ts', 'src', 'package-lock.json'],
      outputs: [BUNDLE],
    }),
    work: () =>
      run(join(root, 'node_modules/.bin/esbuild'), [
        join(root, ENTRY),
        '--bundle',
        '--platform=node',
        '--target=node20',
        '--format=esm',
        '--log-level=warning',
        `--banner:js=${REQUIRE}`,
        `--outfile=${join(root, BUNDLE)}`,
      ]),
  };
}
