import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

const root = import.meta.dirname;

/**
 * With MODHOST_TEST_BUILT=1 the tests run against `dist/` instead of the sources: what users get is what is tried.
 * Tests import `../../src/x.js` and `../../gen/ts/x.js`; both stand under `dist/` in the same tree.
 */
const built = {
  name: 'built-product',
  enforce: 'pre' as const,
  resolveId(source: string, importer: string | undefined) {
    if (importer === undefined || !source.startsWith('.') || !importer.startsWith(`${root}/test/`)) return undefined;
    const path = resolve(dirname(importer), source);
    if (!path.startsWith(`${root}/src/`) && !path.startsWith(`${root}/gen/`)) return undefined;
    const inDist = path.replace(root, `${root}/dist`);
    if (!existsSync(inDist)) throw new Error(`${inDist} is not built: npm run build`);
    return { id: inDist, external: true };
  },
};

export default defineConfig({
  plugins: process.env.MODHOST_TEST_BUILT === '1' ? [built] : [],
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/interop/**', 'test/alone/**', '**/node_modules/**'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    reporters: ['default', './test/reporter.ts'],
  },
});
