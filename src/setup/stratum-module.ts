import { existsSync } from 'node:fs';
import { copyFile, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './command.js';
import { cargoTarget, findRust, NO_RUST } from './rust.js';
import { createStamp } from './stamp.js';
import type { Step } from './step.js';

/** Folder of the module below the package root. */
const MODULE = 'modules/stratum-v2';
/** The program that the sandbox runs. */
const PROGRAM = `${MODULE}/build/stratum-v2`;

/** Builds the Stratum V2 module: its program into its `build/`, because the sandbox shows a module only its folder. */
export async function stratumModule(root: string): Promise<Step> {
  const rust = await findRust();
  const workspace = join(root, MODULE);
  const here = existsSync(join(workspace, 'Cargo.lock'));
  return {
    name: 'Stratum V2 module in Rust',
    usual: 'ten minutes the first time',
    obstacle: !here ? 'it is not part of this checkout' : rust === undefined ? NO_RUST : undefined,
    stamp: createStamp({
      root,
      name: 'stratum-module',
      inputs: ['proto', MODULE, 'src/setup'],
      outputs: [PROGRAM],
      also: [rust?.version ?? '', process.arch],
    }),
    work: async () => {
      if (rust === undefined) return { ok: false, tail: NO_RUST };
      const target = await cargoTarget(workspace, rust);
      // Nobody edits these sources between two setups as often as incremental compilation costs room.
      const env = { CARGO_TARGET_DIR: target, CARGO_INCREMENTAL: '0' };
      const args = ['build', '--release', '--locked', '-p', 'stratum-v2', '--bin', 'stratum-v2'];
      const result = await run(rust.cargo, args, { cwd: workspace, env });
      if (!result.ok) return result;
      await mkdir(join(workspace, 'build'), { recursive: true });
      const fresh = join(root, `${PROGRAM}.new`);
      await copyFile(join(target, 'release/stratum-v2'), fresh);
      // A module that runs meanwhile keeps its program: a busy file cannot be written over, but replaced.
      await rename(fresh, join(root, PROGRAM));
      return result;
    },
  };
}
