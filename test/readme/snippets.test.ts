import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { parseManifest } from '../../src/manifest/parse.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { fences, ROOT, readPage } from './markdown.js';
import { typeErrors, withDoors } from './snippet.js';

/** The snippets of the README, by the door of the package that they come through. */
const README = fences(readPage('README.md'));
const SDK_SNIPPET = codeOf('ts', "from 'modhost/sdk'");
const HOST_SNIPPET = codeOf('ts', "from 'modhost'");
const MANIFEST = codeOf('toml', 'capabilities');

/** Where the package's doors lead: the sources, or with MODHOST_TEST_BUILT=1 what was built of them. */
const BUILT = process.env.MODHOST_TEST_BUILT === '1';
const DOORS = BUILT ? join(ROOT, 'dist') : ROOT;

/** The snippet's logger, replaced by one that prints: what the module wrote is what shows that it worked. */
const PRINTING_LOGGER = `(() => {
  const print = (fields: object, message: string) => console.log('LOG ' + message);
  const logger = { trace() {}, debug() {}, info: print, warn: print, error: print, child: () => logger };
  return logger;
})()`;

/** A line of the module in the host's log. */
const LOGGED = /^LOG block \d+ [0-9a-f]{64}, 0 transactions wait$/;
/** A line of the program that embeds the host. */
const HEARD = /^block \d+$/;

const toolchain = await sandboxToolchain();

describe('the snippets of the pages', () => {
  it('are correct under the strictest settings of the compiler', () => {
    const suite = codeOf('ts', 'defineNodeApiSuite', fences(readPage('conformance/node-api/README.md')));
    const subject = "import type { NodeApiProfile } from 'modhost/conformance/node-api';\n".concat(
      "declare const createMySubject: NodeApiProfile['create'];\n",
    );
    expect(
      typeErrors([...README.filter(({ language }) => language === 'ts').map(({ code }) => code), subject + suite]),
    ).toEqual([]);
  });

  it('show a manifest that loads', () => {
    expect(parseManifest(new TextEncoder().encode(MANIFEST))).toMatchObject({ name: 'my-watch', version: '1.0.0' });
  });

  it.skipIf(toolchain.skip)(
    'run: the embedded host starts the module of the SDK, in its sandbox, on a devchain',
    async () => {
      const dir = mkdtempSync(join(tmpdir(), 'mr-'));
      try {
        await writeProgram(dir);
        const lines = await runUntil(dir, (seen) => count(seen, LOGGED) >= 2 && count(seen, HEARD) >= 2);
        expect(lines).toContain('my-watch is ready');
        expect(count(lines, LOGGED)).toBeGreaterThanOrEqual(2);
        // stopped by SIGINT: no spawn, no socket and nothing of the sandbox is left
        const run = join(dir, 'run');
        expect(existsSync(run) ? readdirSync(run) : []).toEqual([]);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    },
  );
});

/** Lays the README's two programs and the manifest out as it says. */
async function writeProgram(dir: string): Promise<void> {
  const module = join(dir, 'modules', 'my-watch');
  mkdirSync(module, { recursive: true });
  writeFileSync(join(module, 'module.toml'), MANIFEST);
  await build({
    stdin: { contents: withDoors(SDK_SNIPPET, DOORS), loader: 'ts', resolveDir: ROOT },
    bundle: true,
    platform: 'node',
    logLevel: 'error',
    outfile: join(module, 'main.cjs'),
  });
  const host = HOST_SNIPPET.replace('createSilentLogger()', PRINTING_LOGGER).replace('createSilentLogger, ', '');
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(dir, 'host.ts'), withDoors(host, DOORS));
}

/** Runs the host program until its output shows enough, then asks it to end as Ctrl-C does. */
async function runUntil(dir: string, enough: (lines: readonly string[]) => boolean): Promise<string[]> {
  const loader = import.meta.resolve('tsx');
  const child = spawn(process.execPath, ['--import', loader, 'host.ts'], { cwd: dir });
  const ended = once(child, 'exit');
  let out = '';
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.on('data', (chunk) => {
        out += chunk;
        if (enough(out.split('\n'))) resolve();
      });
      child.once('exit', (code) => reject(new Error(`the host ended with ${code}: ${errors}`)));
    });
  } finally {
    child.kill('SIGINT');
  }
  expect(await ended).toEqual([0, null]);
  return out.split('\n');
}

function count(lines: readonly string[], pattern: RegExp): number {
  return lines.filter((line) => pattern.test(line)).length;
}

function codeOf(language: string, marker: string, blocks = README): string {
  const found = blocks.find((fence) => fence.language === language && fence.code.includes(marker));
  if (found === undefined) throw new Error(`no block of ${language} with ${marker}`);
  return found.code;
}
