import { existsSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import {
  filesBelow,
  packageOf,
  parseSource,
  ROOT,
  readSource,
  resolve,
  roomOf,
  type Source,
  walk,
} from './architecture/source.js';
import * as table from './architecture/table.js';

const product = [...filesBelow('src', '.ts'), ...filesBelow('conformance', '.ts')].map(readSource);
const tests = ['test', 'bench'].filter((dir) => existsSync(join(ROOT, dir))).flatMap((dir) => filesBelow(dir, '.ts'));

/** Runs a check over every file and answers what it found, one line per finding, so that a failure lists them all. */
function findings(check: (source: Source) => Iterable<string>): string[] {
  return product.flatMap((source) => [...check(source)].map((text) => `${source.path}: ${text}`));
}

describe('the reader of sources', () => {
  it('sees every form of an import, and whether anything of it runs', () => {
    const { imports, room } = parseSource(
      'src/services/sample.ts',
      `import a from './a.js';
       import type { B } from './b.js';
       import { type C } from './c.js';
       import { type D, e } from './d.js';
       import './f.js';
       export type { G } from './g.js';
       export * from './h.js';
       const lazy = await import('./i.js');
       const old = require('./j.js');
       type K = import('./k.js').K;`,
    );
    expect(room).toBe('services');
    expect(imports.map(({ specifier, typesOnly }) => [specifier.slice(2, 3), typesOnly])).toEqual([
      ['a', false],
      ['b', true],
      ['c', true],
      ['d', false],
      ['f', false],
      ['g', true],
      ['h', false],
      ['i', false],
      ['j', false],
      ['k', true],
    ]);
    expect(resolve('src/services/sample.ts', '../node/bitcoind/chain.js')).toBe('src/node/bitcoind/chain.ts');
  });
});

describe('who may import whom', () => {
  it('knows every room', () => {
    expect(findings(({ room }) => (room in table.ROOMS ? [] : [`room ${room} is not in the table`]))).toEqual([]);
  });

  it('lets imports go only where the table allows', () => {
    const found = findings(function* ({ path, room, imports }) {
      const allowed = new Set(table.ROOMS[room]?.rooms ?? []);
      for (const { specifier, typesOnly, line } of imports) {
        if (!specifier.startsWith('.')) continue;
        const target = roomOf(resolve(path, specifier));
        if (target === room || allowed.has(target) || (typesOnly && allowed.has(`${target}:types`))) continue;
        yield `line ${line}: ${room} imports ${typesOnly ? 'types of ' : ''}${target} (${specifier})`;
      }
    });
    expect(found).toEqual([]);
  });

  it('keeps every package in the rooms that own it', () => {
    const found = findings(function* ({ room, imports }) {
      const allowed = table.ROOMS[room]?.packages ?? [];
      for (const { specifier, line } of imports) {
        if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
        if (isBuiltin(specifier)) yield `line ${line}: write node:${specifier}`;
        else if (!allowed.includes(packageOf(specifier))) yield `line ${line}: ${room} imports package ${specifier}`;
      }
    });
    expect(found).toEqual([]);
  });

  it('starts programs and opens networks only where the table allows', () => {
    const found = findings(function* ({ room, imports }) {
      for (const { specifier, typesOnly, line } of imports) {
        const rooms = table.GUARDED_NODE_MODULES[specifier];
        if (rooms !== undefined && !typesOnly && !rooms.includes(room)) yield `line ${line}: ${room} uses ${specifier}`;
      }
    });
    expect(found).toEqual([]);
  });

  it('writes relative imports with the suffix that runs', () => {
    const found = findings(function* ({ imports }) {
      for (const { specifier, line } of imports) {
        if (specifier.startsWith('.') && !specifier.endsWith('.js')) yield `line ${line}: ${specifier}`;
      }
    });
    expect(found).toEqual([]);
  });

  it('names only rooms that it knows', () => {
    const unknown = Object.values(table.ROOMS)
      .flatMap(({ rooms }) => rooms.map((room) => room.replace(/:types$/, '')))
      .filter((room) => !(room in table.ROOMS));
    expect(unknown).toEqual([]);
  });
});

describe('the style that a program can check', () => {
  it(`keeps hand-written files at ${table.MAX_LINES} lines`, () => {
    const long = [...product, ...tests.map(readSource)].filter(({ lines }) => lines > table.MAX_LINES);
    expect(long.map(({ path, lines }) => `${path}: ${lines} lines`)).toEqual([]);
  });

  it('names files in kebab-case, with words that say something', () => {
    const bad = [...product.map(({ path }) => path), ...tests].filter((path) => {
      const name = basename(path).replace(/(\.test|\.config)?\.ts$/, '');
      const words = name.split('-');
      return !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || words.some((word) => table.BANNED_WORDS.includes(word));
    });
    expect(bad).toEqual([]);
  });

  it('names types with words that say something', () => {
    const found = findings(function* ({ ast }) {
      for (const name of typeNames(ast)) {
        const words = name.split(/(?<=[a-z0-9])(?=[A-Z])|_/).map((word) => word.toLowerCase());
        const banned = words.find((word) => table.BANNED_WORDS.includes(word));
        if (banned !== undefined && !table.NAMED_BY_OTHERS.includes(name)) yield `type ${name} holds "${banned}"`;
      }
    });
    expect(found).toEqual([]);
  });

  it('has no barrels but the doors of the package', () => {
    const found = findings(function* ({ path, ast }) {
      if (table.BARRELS.includes(path)) return;
      const reexports = ast.statements.filter((s) => ts.isExportDeclaration(s) && s.moduleSpecifier !== undefined);
      if (reexports.length > 0 && reexports.length === ast.statements.length) yield 'only re-exports';
      if (reexports.some((s) => ts.isExportDeclaration(s) && s.exportClause === undefined)) yield 'export * from';
    });
    expect(found).toEqual([]);
    expect(
      product.map(({ path }) => path).filter((p) => basename(p) === 'index.ts' && !table.BARRELS.includes(p)),
    ).toEqual([]);
  });

  it('leaves the process to the edges', () => {
    const guarded = new Set(['exit', 'on', 'once', 'addListener', 'argv', 'exitCode', 'chdir', 'umask']);
    const found = findings(function* ({ path, room, ast }) {
      if (table.PROCESS_ROOMS.includes(room) || table.PROCESS_FILES.includes(path)) return;
      const uses: string[] = [];
      walk(ast, (node) => {
        if (!ts.isPropertyAccessExpression(node) || !ts.isIdentifier(node.expression)) return;
        if (node.expression.text === 'process' && guarded.has(node.name.text)) uses.push(`process.${node.name.text}`);
      });
      yield* uses;
    });
    expect(found).toEqual([]);
  });

  it('has no module-level state', () => {
    const found = findings(function* ({ ast }) {
      for (const statement of ast.statements) {
        if (!ts.isVariableStatement(statement)) continue;
        const { flags, declarations } = statement.declarationList;
        const names = declarations.map(({ name }) => name.getText()).join(', ');
        if ((flags & ts.NodeFlags.Const) === 0) yield `module-level let or var: ${names}`;
        else if (declarations.some(isMutableCollection))
          yield `module-level collection without a readonly type: ${names}`;
      }
    });
    expect(found).toEqual([]);
  });
});

function typeNames(ast: ts.SourceFile): string[] {
  const names: string[] = [];
  walk(ast, (node) => {
    const declares = ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) || ts.isClassDeclaration(node);
    if (declares && node.name !== undefined) names.push(node.name.text);
  });
  return names;
}

/** An empty or untyped Map or Set at module level is state, or becomes it; a filled one says ReadonlyMap, ReadonlySet. */
function isMutableCollection({ initializer, type }: ts.VariableDeclaration): boolean {
  if (initializer === undefined || !ts.isNewExpression(initializer)) return false;
  const made = initializer.expression.getText();
  if (made === 'WeakMap' || made === 'WeakSet') return true;
  if (made !== 'Map' && made !== 'Set') return false;
  return (initializer.arguments ?? []).length === 0 && !(type?.getText().startsWith('Readonly') ?? false);
}
