import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findProgram, run } from './command.js';
import { OLDEST_RUST } from './pins.js';

/** Compiled dependencies of so many lock files are kept; each is some gigabytes. */
const KEPT_TARGETS = 2;

/** A Rust that is new enough. */
export interface Rust {
  /** Path of cargo. */
  cargo: string;
  /** What its compiler says of itself: compiled code of another one is of no use. */
  version: string;
}

/** The Rust of this machine, or undefined when there is none or only one that is too old. */
export async function findRust(): Promise<Rust | undefined> {
  // Rust installed by rustup is in the PATH of login shells only.
  const usual = [join(homedir(), '.cargo/bin'), '/usr/local/cargo/bin'];
  const [cargo, rustc] = [findProgram('cargo', usual), findProgram('rustc', usual)];
  if (cargo === undefined || rustc === undefined) return undefined;
  const { ok, tail } = await run(rustc, ['--version']);
  const version = /\brustc (\d+)\.(\d+)/.exec(tail);
  if (!ok || version === null) return undefined;
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const [oldestMajor, oldestMinor] = OLDEST_RUST;
  const enough = major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
  return enough ? { cargo, version: tail } : undefined;
}

/** What to say where there is no Rust. */
export const NO_RUST = `no Rust ${OLDEST_RUST.join('.')} or newer here (https://rustup.rs; Debian 12's own is too old)`;

/** Where this product keeps what takes long to make and outlives a checkout. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'modhost');
}

/**
 * Folder for compiled code of a cargo workspace, the same for every checkout with this lock file and this compiler, so
 * that a fresh clone compiles its own crates only. Older folders are removed.
 *
 * @param workspace folder with `Cargo.lock`
 */
export async function cargoTarget(workspace: string, rust: Rust): Promise<string> {
  const key = createHash('sha256')
    .update(rust.version)
    .update(readFileSync(join(workspace, 'Cargo.lock')))
    .digest('hex')
    .slice(0, 16);
  const shelf = join(cacheFolder(), 'cargo');
  const target = join(shelf, key);
  mkdirSync(target, { recursive: true });
  const now = new Date();
  utimesSync(target, now, now);
  const byAge = readdirSync(shelf)
    .map((name) => ({ path: join(shelf, name), used: statSync(join(shelf, name)).mtimeMs }))
    .sort((a, b) => b.used - a.used);
  for (const { path } of byAge.slice(KEPT_TARGETS)) rmSync(path, { recursive: true, force: true });
  await forgetGoneCheckouts(target, workspace, rust);
  return target;
}

/**
 * Removes what was compiled of the workspace's own crates once a checkout of it is gone: cargo keeps them apart by their
 * place, and would keep those of every clone for ever.
 */
async function forgetGoneCheckouts(target: string, workspace: string, { cargo }: Rust): Promise<void> {
  const note = join(target, 'checkouts');
  const known = existsSync(note) ? readFileSync(note, 'utf8').split('\n').filter(Boolean) : [];
  const here = new Set([...known, workspace]);
  const gone = [...here].filter((path) => !existsSync(path));
  for (const path of gone) here.delete(path);
  writeFileSync(note, [...here].join('\n'));
  if (gone.length === 0) return;
  const members = readdirSync(workspace).filter((name) => existsSync(join(workspace, name, 'Cargo.toml')));
  const packages = members.flatMap((member) => ['-p', packageName(join(workspace, member, 'Cargo.toml'))]);
  for (const profile of ['dev', 'release']) {
    const args = ['clean', '--offline', '--target-dir', target, '--profile', profile, ...packages];
    // Best effort: what stays behind costs room on the disk and nothing else.
    await run(cargo, args, { cwd: workspace });
  }
}

function packageName(manifest: string): string {
  return /^name = "(.+)"$/m.exec(readFileSync(manifest, 'utf8'))?.[1] ?? '';
}
