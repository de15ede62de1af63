import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../src/contract/descriptors.js';
import { requireToolchain } from './toolchain.js';

const ROOT = packageRoot();

interface PackageJson {
  bin: Record<string, string>;
  exports: Record<string, string | { types: string; default: string }>;
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
}

const product = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as PackageJson;
const built = existsSync(join(ROOT, product.bin.modhost ?? ''));
const { skip } = requireToolchain(
  'the built product',
  built ? { available: true } : { available: false, reason: 'dist/ is not built; npm run build' },
);

/** Packs without scripts and without a network, and answers what npm says of it. */
function pack(...more: string[]): { filename: string; files: { path: string }[] } {
  const out = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--offline', ...more], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [report] = JSON.parse(out) as [{ filename: string; files: { path: string }[] }];
  return report;
}

describe.skipIf(skip)('the package', () => {
  it('holds what users need, and nothing else', () => {
    const files = new Set(pack('--dry-run').files.map(({ path }) => path));
    const promised = [
      ...Object.values(product.bin),
      ...Object.values(product.exports)
        .flatMap((door) => (typeof door === 'string' ? [door] : [door.types, door.default]))
        .filter((path) => !path.includes('*')),
      ...['README.md', 'CHANGELOG.md', 'LICENSE', 'proto/README.md', 'proto/modhost/v1/session.proto'],
    ].map((path) => path.replace(/^\.\//, ''));
    expect(promised.filter((path) => !files.has(path))).toEqual([]);
    const rooms = /^(?:dist\/(?:src|gen\/ts|conformance\/node-api)\/.+\.(?:js|d\.ts)|proto\/.+\.(?:proto|md))$/;
    const single = ['package.json', 'gen/modhost.binpb', 'man/modhost.1', 'README.md', 'CHANGELOG.md', 'LICENSE'];
    expect([...files].filter((path) => !rooms.test(path) && !single.includes(path))).toEqual([]);
    expect([...files].filter((path) => path.startsWith('dist/src/setup/'))).toEqual([]);
  });

  it('works where it is installed: its doors open, its types are whole, its command answers', () => {
    const dir = mkdtempSync(join(tmpdir(), 'mp-'));
    try {
      const home = install(dir);
      const doors = "import { createHost } from 'modhost';\nimport { runModule } from 'modhost/sdk';\n".concat(
        "import { defineNodeApiSuite } from 'modhost/conformance/node-api';\n",
      );
      const use = 'console.log(typeof createHost, typeof runModule, typeof defineNodeApiSuite);\n';
      writeFileSync(join(dir, 'use.ts'), doors + use);
      writeFileSync(join(dir, 'use.mjs'), doors + use);
      expect(execFileSync(process.execPath, ['use.mjs'], { cwd: dir, encoding: 'utf8' })).toBe(
        'function function function\n',
      );
      expect(typeErrors(join(dir, 'use.ts'))).toEqual([]);
      const bin = join(home, product.bin.modhost ?? '');
      const version = spawnSync(process.execPath, [bin, '--version'], { encoding: 'utf8' });
      expect(version).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\S*\d+\.\d+\.\d+/) });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }, 180_000);
});

/** Unpacks the package into a project as npm would, with its dependencies from this repository's own. */
function install(dir: string): string {
  const { filename } = pack('--pack-destination', dir);
  const home = join(dir, 'node_modules', 'modhost');
  mkdirSync(home, { recursive: true });
  execFileSync('tar', ['-xzf', join(dir, filename), '-C', home, '--strip-components=1']);
  const wanted = [...Object.keys(product.dependencies), ...Object.keys(product.optionalDependencies), '@types/node'];
  for (const name of wanted) {
    const from = join(ROOT, 'node_modules', name);
    if (!existsSync(from)) continue;
    mkdirSync(dirname(join(dir, 'node_modules', name)), { recursive: true });
    symlinkSync(from, join(dir, 'node_modules', name));
  }
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  return home;
}

/** What the compiler says of a file and all declarations that it reaches, as a strict project of today sees them. */
function typeErrors(path: string): string[] {
  const program = ts.createProgram([path], {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    strict: true,
    noEmit: true,
    // declarations are what is checked here
    skipLibCheck: false,
  });
  const own = program
    .getSourceFiles()
    .filter(({ fileName }) => fileName === path || fileName.includes('/node_modules/modhost/'));
  // the three doors reach most of the package; fewer files would mean that they were not found
  expect(own.length).toBeGreaterThan(50);
  return own
    .flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)])
    .map(({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`);
}
