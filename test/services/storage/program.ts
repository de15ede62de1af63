import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = new URL('../../../', import.meta.url).pathname;

/** Programs of these tests as files that plain Node runs, in a directory of their own. */
export interface Programs {
  readonly writer: string;
  readonly finder: string;
  dispose(): void;
}

/** Bundles them: started as sources, each would compile the same files anew. */
export async function buildPrograms(): Promise<Programs> {
  const dir = mkdtempSync(join(tmpdir(), 'mh-programs-'));
  // the engine's prebuilt binary is found beside its package
  symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'));
  const here = join(root, 'test/services/storage/programs');
  await build({
    entryPoints: { writer: join(here, 'writer.ts'), finder: join(here, 'finder.ts') },
    outdir: dir,
    outExtension: { '.js': '.mjs' },
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20', external: ['classic-level'] },
    logLevel: 'error',
  });
  return {
    writer: join(dir, 'writer.mjs'),
    finder: join(dir, 'finder.mjs'),
    dispose: () => rmSync(dir, { recursive: true, force: true }),
  };
}
