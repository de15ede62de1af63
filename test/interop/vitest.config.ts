import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/interop/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    // A real node starts in seconds, is built in minutes, and reorganises with real proof of work.
    testTimeout: 180_000,
    hookTimeout: 900_000,
    // One file at a time: every file starts nodes of its own, and the machines that run this have two cores.
    reporters: ['default', new URL('../reporter.ts', import.meta.url).pathname],
    maxWorkers: 1,
    fileParallelism: false,
  },
});
