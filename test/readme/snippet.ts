import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from './markdown.js';

/** The doors of the package, and where they lead among the sources. */
const DOORS: Readonly<Record<string, string>> = {
  modhost: 'src/index.js',
  'modhost/sdk': 'src/sdk/index.js',
  'modhost/conformance/node-api': 'conformance/node-api/index.js',
};

/** The snippet with its imports of the package led to files below `root`, which ends without a slash. */
export function withDoors(code: string, root: string): string {
  return code.replace(/(from ')(modhost[\w/-]*)(')/g, (whole, before: string, door: string, after: string) => {
    const file = DOORS[door];
    if (file === undefined) throw new Error(`a snippet imports ${door}, which the package does not export`);
    return file === undefined ? whole : `${before}${root}/${file}${after}`;
  });
}

/** What the compiler says of snippets under the repository's own, strict settings; nothing when all is well. */
export function typeErrors(snippets: readonly string[]): string[] {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const texts = new Map(snippets.map((code, index) => [join(ROOT, `snippet-${index}.ts`), withDoors(code, '.')]));
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => texts.has(path) || fileExists(path);
  host.readFile = (path) => texts.get(path) ?? readFile(path);
  host.getSourceFile = (path, target, ...rest) => {
    const text = texts.get(path);
    return text === undefined
      ? getSourceFile(path, target, ...rest)
      : ts.createSourceFile(path, text, target, /* setParentNodes */ true);
  };
  const program = ts.createProgram([...texts.keys()], options, host);
  return [...texts.keys()].flatMap((path) => {
    const file = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
      ({ messageText }) => `${path.slice(ROOT.length + 1)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
    );
  });
}
