import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { buildGo } from '../go/build.js';

const root = new URL('../../', import.meta.url).pathname;
/** The host is a module in ESM form, and gRPC within it asks for `require`. */
const REQUIRE =
  "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);";

/** Builds the host's program and its module's into a directory; one file starts in a fraction of the time of many. */
export async function buildPrograms(dir: string): Promise<{ host: string; ledger: string }> {
  // what the host looks up beside its package: the contract, its version, the storage engine's binary
  for (const name of ['gen', 'package.json', 'node_modules']) symlinkSync(join(root, name), join(dir, name));
  const built = join(dir, 'built');
  mkdirSync(built, { mode: 0o755 });
  const host = join(built, 'host.mjs');
  await build({
    entryPoints: [join(root, 'test/kills/host-program.ts')],
    outfile: host,
    ...{ bundle: true, minify: true, keepNames: true, platform: 'node', format: 'esm', target: 'node20' },
    external: ['classic-level', 'pino', 'zeromq'],
    banner: { js: REQUIRE },
    logLevel: 'error',
  });
  await buildGo(built, 'ledger');
  return { host, ledger: join(built, 'ledger') };
}
