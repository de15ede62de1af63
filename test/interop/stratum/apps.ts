/**
 * Other people's Stratum V2 programs, unmodified from their registry, and the probe of our own workspace: where they
 * lie, and how they are made once.
 */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheFolder, cargoTarget, findRust, NO_RUST } from '../../../src/setup/rust.js';
import type { ToolPresence } from '../../toolchain.js';

/** A program of the Stratum Reference Implementation on crates.io. */
interface App {
  name: string;
  version: string;
}

/** Turns Stratum V1 miners into one Stratum V2 connection. */
const TRANSLATOR: App = { name: 'translator_sv2', version: '0.6.0' };
/** A pool that takes its work from a Template Provider. */
const POOL: App = { name: 'pool_sv2', version: '0.7.0' };
const APPS = [TRANSLATOR, POOL];

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** The workspace of the module. */
export const WORKSPACE = join(ROOT, 'modules/stratum-v2');
/** Longest compilation, milliseconds: 600 packages on two slow cores. */
const BUILD_TIMEOUT_MS = 3_000_000;
/** Most that cargo may print, bytes. */
const BUILD_OUTPUT_BYTES = 64 * 1024 * 1024;

/**
 * The programs as they are released but for optimisation, which only their authors' machines need: it makes the first
 * compilation several times as long.
 */
const QUICKLY = {
  CARGO_PROFILE_RELEASE_OPT_LEVEL: '0',
  CARGO_PROFILE_RELEASE_LTO: 'off',
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '256',
  CARGO_PROFILE_RELEASE_DEBUG: '0',
};

const rootOf = ({ name, version }: App): string => join(cacheFolder(), 'crates', `${name}-${version}`);
const pathOf = (app: App): string => join(rootOf(app), 'bin', app.name);

/** Path of `translator_sv2`. */
export const translatorPath = (): string => pathOf(TRANSLATOR);
/** Path of `pool_sv2`. */
export const poolPath = (): string => pathOf(POOL);
/** Path of the probe. */
export const probePath = (): string => join(ROOT, '.cache/bin/stratum-probe');
/** Path of the module's program. */
export const modulePath = (): string => join(WORKSPACE, 'build/stratum-v2');

/** Whether module and probe are here, and with `others` the programs of the reference implementation too. */
export function stratumPresence(others = false): ToolPresence {
  const wanted = [modulePath(), probePath(), ...(others ? APPS.map(pathOf) : [])];
  const missing = wanted.filter((path) => !existsSync(path));
  if (missing.length === 0) return { available: true };
  return { available: false, reason: `not built: ${missing.join(', ')}; npm run setup -- --ci (needs Rust)` };
}

/** Schemas of Cap'n Proto itself, where Debian puts them; `pool_sv2` is compiled with them and the compiler beside them. */
const CAPNP_SCHEMAS = '/usr/include/capnp/c++.capnp';

/** Whether what `pool_sv2` is compiled with is here, or it has been compiled already. */
export function capnpPresence(): ToolPresence {
  if (existsSync(pathOf(POOL))) return { available: true };
  return existsSync(CAPNP_SCHEMAS) && spawnSync('capnp', ['--version']).status === 0
    ? { available: true }
    : { available: false, reason: `Cap'n Proto, without which ${POOL.name} cannot be compiled, is not installed` };
}

/** Compiles what is not there yet; the probe always, because its sources are ours. */
export async function buildStratumApps(): Promise<ToolPresence> {
  const rust = await findRust();
  if (rust === undefined) return { available: false, reason: NO_RUST };
  const cargo = (args: string[], env: Record<string, string>, cwd = ROOT) =>
    promisify(execFile)(rust.cargo, args, {
      cwd,
      env: { ...process.env, ...env },
      timeout: BUILD_TIMEOUT_MS,
      maxBuffer: BUILD_OUTPUT_BYTES,
    });
  const scratch = join(cacheFolder(), `crates-${process.pid}`);
  try {
    for (const app of APPS) {
      if (existsSync(pathOf(app))) continue;
      const fresh = join(scratch, app.name);
      // One folder for what both compile, for both are made of much the same packages.
      const env = { ...QUICKLY, CARGO_TARGET_DIR: join(scratch, 'target') };
      await cargo(['install', '--locked', '--root', fresh, `${app.name}@${app.version}`], env);
      await mkdir(join(cacheFolder(), 'crates'), { recursive: true });
      await rm(rootOf(app), { recursive: true, force: true });
      await rename(fresh, rootOf(app));
    }
    const target = await cargoTarget(WORKSPACE, rust);
    const build = ['build', '--release', '--locked', '-p', 'probe'];
    await cargo(build, { CARGO_TARGET_DIR: target, CARGO_INCREMENTAL: '0' }, WORKSPACE);
    await mkdir(join(ROOT, '.cache/bin'), { recursive: true });
    await copyFile(join(target, 'release/probe'), `${probePath()}.new`);
    await rename(`${probePath()}.new`, probePath());
    return { available: true };
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    return { available: false, reason: `${error instanceof Error ? error.message : error}\n${stderr.slice(-2_000)}` };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
