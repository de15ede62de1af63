import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** Directory of the repository. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** One import or re-export, dynamic ones and types in `import('…')` form included. */
export interface Import {
  specifier: string;
  /** True when nothing of it is left at run time. */
  typesOnly: boolean;
  line: number;
}

/** One parsed source file. */
export interface Source {
  /** Path below the repository, with `/`. */
  path: string;
  room: string;
  lines: number;
  imports: readonly Import[];
  ast: ts.SourceFile;
}

/** The port to the node: its calls, and the two parts that are pages of their own. */
const PORT_FILES = new Set(['node-api.ts', 'block-template.ts', 'provider-api.ts']);

const RESULT_FOLDERS = new Set(['node_modules', 'dist', 'build', 'vendor', 'target', '__pycache__']);

/** Paths of the files below a folder that end so, folders of results left out. */
export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      const generated = RESULT_FOLDERS.has(entry.name) || (entry.name === 'gen' && folder !== 'gen');
      return generated ? [] : filesBelow(path, ending);
    }
    return entry.isFile() && entry.name.endsWith(ending) ? [path] : [];
  });
}

/** Reads and parses one TypeScript file of the repository. */
export function readSource(path: string): Source {
  return parseSource(path, readFileSync(join(ROOT, path), 'utf8'));
}

/** Parses one TypeScript file. */
export function parseSource(path: string, text: string): Source {
  const ast = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
  return { path, room: roomOf(path), lines, imports: importsOf(ast), ast };
}

/** The room that a file lives in; a file outside of every room answers a name that no table lists. */
export function roomOf(path: string): string {
  const [top, first = '', second = ''] = path.split('/');
  if (top === 'gen') return 'gen';
  if (top === 'conformance') return second !== '' && !first.endsWith('.ts') ? conformanceRoom(first) : 'conformance';
  if (first === 'index.ts') return 'index';
  if (first !== 'node') return first;
  if (PORT_FILES.has(second)) return 'node-api';
  if (second === 'budget.ts') return 'node-budget';
  return `node/${second}`;
}

function conformanceRoom(folder: string): string {
  return ['node-api', 'modules'].includes(folder) ? `conformance/${folder}` : 'conformance';
}

/** Path that a relative specifier of a file leads to, as the TypeScript source. */
export function resolve(from: string, specifier: string): string {
  return relative(ROOT, join(ROOT, dirname(from), specifier)).replace(/\.js$/, '.ts');
}

/** Name of the package of a bare specifier: `@scope/name` or `name`. */
export function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** Walks every node below one, itself included. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

function importsOf(ast: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const add = (at: ts.Node, specifier: ts.Node | undefined, typesOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const line = ast.getLineAndCharacterOfPosition(at.getStart()).line + 1;
    found.push({ specifier: specifier.text, typesOnly, line });
  };
  walk(ast, (node) => {
    if (ts.isImportDeclaration(node)) add(node, node.moduleSpecifier, isTypeImport(node.importClause));
    if (ts.isExportDeclaration(node)) add(node, node.moduleSpecifier, isTypeExport(node));
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node, node.argument.literal, true);
    if (!ts.isCallExpression(node)) return;
    const callee = node.expression;
    const loads =
      callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && /^require$/.test(callee.text));
    if (loads) add(node, node.arguments[0], false);
  });
  return found;
}

function isTypeImport(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const bindings = clause.namedBindings;
  if (clause.name !== undefined || bindings === undefined || !ts.isNamedImports(bindings)) return false;
  return bindings.elements.length > 0 && bindings.elements.every((element) => element.isTypeOnly);
}

function isTypeExport(node: ts.ExportDeclaration): boolean {
  if (node.isTypeOnly) return true;
  const clause = node.exportClause;
  return clause !== undefined && ts.isNamedExports(clause) && clause.elements.every((element) => element.isTypeOnly);
}
