import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** Folders that hold results, never inputs. */
const RESULT_FOLDERS: ReadonlySet<string> = new Set([
  'node_modules',
  'dist',
  'build',
  'vendor',
  'gen',
  'target',
  '__pycache__',
]);

/** Remembers which inputs a result was made from, so that the next setup does only what changed. */
export interface Stamp {
  /** True when every output is there and was made from just these inputs. */
  isCurrent(): boolean;
  /** Notes that the outputs are now made from these inputs. */
  write(): void;
  /** Forgets it, before the outputs are touched. */
  clear(): void;
}

/** What a stamp covers; paths are relative to `root`. */
export interface StampOptions {
  root: string;
  name: string;
  /** Files and folders; folders are read to the bottom, those of results left out. */
  inputs: readonly string[];
  /** Files that have to be there. */
  outputs: readonly string[];
  /** What else the result depends on: versions of tools, options. */
  also?: readonly string[];
}

/** Makes the stamp of one result; it is kept in `.cache/setup`. */
export function createStamp({ root, name, inputs, outputs, also = [] }: StampOptions): Stamp {
  const file = join(root, '.cache', 'setup', `${name}.sha256`);
  // Read before the work starts: a file that changes meanwhile must not count as built.
  const digest = digestOf(root, inputs, also);
  return {
    isCurrent() {
      if (!outputs.every((output) => existsSync(join(root, output)))) return false;
      return existsSync(file) && readFileSync(file, 'utf8') === digest;
    },
    write() {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, digest);
    },
    clear() {
      rmSync(file, { force: true });
    },
  };
}

function digestOf(root: string, inputs: readonly string[], also: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of also) hash.update(`${text}\0`);
  for (const input of inputs) {
    for (const path of filesBelow(join(root, input))) {
      const content = readFileSync(path);
      hash.update(`${relative(root, path)}\0${content.byteLength}\0`).update(content);
    }
  }
  return hash.digest('hex');
}

function filesBelow(path: string): string[] {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .filter((entry) => entry.isFile() || (entry.isDirectory() && !RESULT_FOLDERS.has(entry.name)))
    .flatMap((entry) => (entry.isFile() ? [join(path, entry.name)] : filesBelow(join(path, entry.name))));
}
