import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Lines of a program's output that are kept to explain a failure. */
const KEPT_LINES = 30;

/** How a program is run. */
export interface CommandOptions {
  cwd?: string;
  /** Added to setup's own environment. */
  env?: Readonly<Record<string, string>>;
}

/** How a program ended. */
export interface CommandResult {
  ok: boolean;
  /** The last lines of its output, both streams in the order they came. */
  tail: string;
}

/** Runs one program to its end, its input closed and its output held back; never rejects. */
export function run(
  program: string,
  args: readonly string[],
  { cwd, env }: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let lines: string[] = [];
    const keep = (chunk: string): void => {
      const [first = '', ...rest] = chunk.split('\n');
      lines = [...lines.slice(0, -1), (lines.at(-1) ?? '') + first, ...rest].slice(-KEPT_LINES);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => resolve({ ok: false, tail: `${program}: ${error.message}` }));
    child.on('close', (code) => resolve({ ok: code === 0, tail: lines.join('\n').trim() }));
  });
}

/** Runs programs one after the other and stops at the first that fails; answers how the last one ended. */
export async function runAll(
  steps: readonly (readonly [program: string, args: readonly string[], options?: CommandOptions])[],
): Promise<CommandResult> {
  let result: CommandResult = { ok: true, tail: '' };
  for (const [program, args, options] of steps) {
    result = await run(program, args, options);
    if (!result.ok) return { ok: false, tail: `${[program, ...args].join(' ')}\n${result.tail}` };
  }
  return result;
}

/** Path of an executable in PATH or in one of the further directories; undefined when there is none. */
export function findProgram(name: string, further: readonly string[] = []): string | undefined {
  for (const dir of [...(process.env.PATH ?? '').split(delimiter), ...further]) {
    if (dir === '') continue;
    const path = join(dir, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here; the next directory.
    }
  }
  return undefined;
}
