import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/alone/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // What is timed here is asked of a machine with nothing else to do.
    reporters: ['default', new URL('../reporter.ts', import.meta.url).pathname],
    maxWorkers: 1,
    fileParallelism: false,
  },
});
