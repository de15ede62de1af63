import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** gRPC is CommonJS and asks for `require`, which a module in ESM form has to make itself. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

/** Bundles a module in TypeScript into one file: its sandbox shows it nothing else. */
export async function bundleModule(source: URL, outfile: string): Promise<void> {
  await build({
    entryPoints: [fileURLToPath(source)],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'warning',
    banner: { js: REQUIRE },
  });
}
