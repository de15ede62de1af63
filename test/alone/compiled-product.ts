import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** What the package holds in JavaScript. */
const SOURCES = ['src', 'gen/ts', 'conformance/node-api'];

/**
 * Compiles the product as it stands into a directory laid out as the package is. What compiles while it runs, as other
 * tests do, makes every function a little slower, and here time is what is measured.
 *
 * @returns path of the command line
 */
export async function compileProduct(dir: string): Promise<string> {
  await build({
    entryPoints: SOURCES.map((folder) => `${folder}/**/*.ts`),
    absWorkingDir: ROOT,
    outbase: '.',
    outdir: join(dir, 'dist'),
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'warning',
  });
  mkdirSync(join(dir, 'gen'), { recursive: true });
  for (const shared of ['node_modules', 'package.json', 'gen/modhost.binpb']) {
    symlinkSync(join(ROOT, shared), join(dir, shared));
  }
  return join(dir, 'dist/src/cli/main.js');
}
