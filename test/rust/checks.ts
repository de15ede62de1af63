/**
 * `npm run test:rust [-- format | lint | test ...]`: the Rust workspace by its own tools, all three by default. Ends as
 * every test run does with `N passed, N failed`, and adds to the file that MODHOST_TEST_COUNTS names.
 *
 * Exit codes: 0 all is well, 1 something is wrong. Without Rust it says so; under CI=true that is a failure.
 */
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cargoTarget, findRust, NO_RUST, type Rust } from '../../src/setup/rust.js';
import { requireToolchain } from '../toolchain.js';

const WORKSPACE = join(fileURLToPath(new URL('../..', import.meta.url)), 'modules/stratum-v2');

/** What each check runs; tests name themselves, the others pass or fail as a whole. */
const CHECKS: Readonly<Record<string, readonly string[]>> = {
  format: ['fmt', '--all', '--check'],
  lint: ['clippy', '--locked', '--workspace', '--all-targets', '--', '-D', 'warnings'],
  test: ['test', '--locked', '--workspace', '--no-fail-fast'],
};

/** Runs cargo with its output shown, and answers its exit code and what it printed. */
function run(rust: Rust, args: readonly string[], target: string): Promise<{ code: number; text: string }> {
  const env = {
    ...process.env,
    CARGO_TARGET_DIR: target,
    CARGO_INCREMENTAL: '0',
    CARGO_PROFILE_DEV_DEBUG: 'line-tables-only',
  };
  const child = spawn(rust.cargo, args, { cwd: WORKSPACE, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    process.stdout.write(chunk);
  });
  return new Promise((resolve) => {
    child.on('error', () => resolve({ code: 1, text }));
    child.on('close', (code) => resolve({ code: code ?? 1, text }));
  });
}

/** Sums up what the test programs counted; a program that does not compile or dies counts as one failed test. */
function countTests(code: number, text: string): { passed: number; failed: number } {
  let [passed, failed] = [0, 0];
  for (const [, ok, bad] of text.matchAll(/^test result: .*?(\d+) passed; (\d+) failed/gm)) {
    passed += Number(ok);
    failed += Number(bad);
  }
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed };
}

async function main(wanted: readonly string[]): Promise<number> {
  const rust = await findRust();
  const presence = rust === undefined ? { available: false as const, reason: NO_RUST } : { available: true as const };
  if (requireToolchain('Rust', presence).skip || rust === undefined) return 0;
  const target = await cargoTarget(WORKSPACE, rust);
  let [passed, failed] = [0, 0];
  for (const name of wanted.length > 0 ? wanted : Object.keys(CHECKS)) {
    const args = CHECKS[name];
    if (args === undefined) throw new Error(`no check ${name}; there are ${Object.keys(CHECKS).join(', ')}`);
    const { code, text } = await run(rust, args, target);
    const counted =
      name === 'test' ? countTests(code, text) : { passed: Number(code === 0), failed: Number(code !== 0) };
    passed += counted.passed;
    failed += counted.failed;
  }
  const file = process.env.MODHOST_TEST_COUNTS;
  if (file !== undefined) appendFileSync(file, `${passed} ${failed} 0\n`);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
