import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findGo } from '../../src/setup/go-example.js';
import type { ToolPresence } from '../toolchain.js';

const FOLDER = import.meta.dirname;
const STUBS = join(FOLDER, '../../conformance/modules/go/gen');

/** Whether the test modules in Go can be built here. */
export async function goPresence(): Promise<ToolPresence> {
  if ((await findGo()) === undefined)
    return { available: false, reason: 'no Go that is new enough (apt install golang-go)' };
  if (!existsSync(STUBS)) return { available: false, reason: 'the Go example is not built; npm run setup' };
  return { available: true };
}

/** Builds programs of this folder into a directory: static ones, which need nothing of what a sandbox shows. */
export async function buildGo(build: string, ...names: readonly string[]): Promise<void> {
  const go = (await findGo()) ?? 'go';
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' };
  const args = ['build', '-trimpath', '-o', `${build}/`, ...names.map((name) => `./${name}`)];
  execFileSync(go, args, { cwd: FOLDER, env, stdio: 'inherit' });
}
