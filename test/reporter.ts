import { appendFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/** What a run counted. */
interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Ends every test run with the plain line `N passed, N failed`, and appends `passed failed skipped` to the file that
 * MODHOST_TEST_COUNTS names, so that several runs can be summed up. A file that does not load and an error outside of
 * every test count as a failed test each: without that, a run of nothing would look green.
 */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const counts: Counts = { passed: 0, failed: unhandled.length, skipped: 0 };
    for (const module of modules) addModule(counts, module);
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
    // The default reporter writes its summary after this hook's turn in the list; the line must stay the last one.
    process.once('exit', () => process.stdout.write(`${counts.passed} passed, ${counts.failed} failed${skipped}\n`));
    const file = process.env.MODHOST_TEST_COUNTS;
    if (file !== undefined) appendFileSync(file, `${counts.passed} ${counts.failed} ${counts.skipped}\n`);
  }
}

function addModule(counts: Counts, module: TestModule): void {
  let failedTests = 0;
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    if (state === 'passed') counts.passed += 1;
    else if (state === 'failed') failedTests += 1;
    else counts.skipped += 1;
  }
  counts.failed += failedTests;
  if (failedTests === 0 && !module.ok()) counts.failed += 1;
}
