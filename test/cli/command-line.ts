import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../../src/cli/program.js';
import type { Terminal } from '../../src/cli/terminal.js';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { type ContractWords, createContractWords } from '../../src/contract/plain.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** What a command line gave. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

/** A command line that runs. */
export interface Started {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Standard output so far. */
  out(): string;
  err(): string;
  /** Waits until standard output holds a text. */
  until(text: string | RegExp): Promise<void>;
  readonly ended: Promise<Ended>;
}

/**
 * Runs one command line in this process, for the many that only ask: the same program, with another terminal. Its
 * environment is that of the place.
 */
export function createAsker(place: Place): (...words: string[]) => Promise<Omit<Ended, 'signal'>> {
  const follow = createFollower(place);
  return async (...argv) => {
    const { ended, out, err } = follow(...argv);
    return { code: await ended, out: out(), err: err() };
  };
}

/** The same for those that go on: what they have said so far, and their exit code in the end. */
export function createFollower(
  place: Place,
): (...words: string[]) => { out(): string; err(): string; ended: Promise<number> } {
  let words: ContractWords | undefined;
  const env = { HOME: join(place.dir, 'home'), MODHOST_CONFIG: join(place.dir, 'modhost.toml') };
  return (...argv) => {
    const { terminal, out, err } = recordTerminal();
    const ended = runProgram(argv, {
      terminal,
      env,
      words: () => {
        words ??= createContractWords(createContractRegistry());
        return words;
      },
      onSignal: () => () => {},
      exitNow: (code) => {
        throw new Error(`exit ${code}`);
      },
    });
    return { out, err, ended };
  };
}

/** A terminal that is a pipe, and what was written on it. */
export function recordTerminal(): { terminal: Terminal; out(): string; err(): string } {
  const [out, err]: [string[], string[]] = [[], []];
  return {
    terminal: {
      say: (text) => void out.push(`${text}\n`),
      tell: (text) => void err.push(`${text}\n`),
      progress() {},
      paint: (_style, text) => text,
      paintError: (_style, text) => text,
      interactive: false,
      pass: (to, bytes) => void (to === 'stdout' ? out : err).push(Buffer.from(bytes).toString()),
      draw: (text) => void out.push(text),
      size: () => ({ columns: 80, rows: 24 }),
    },
    out: () => out.join(''),
    err: () => err.join(''),
  };
}

/** A home of its own for the command line: nothing of this machine's operator is read or written. */
export interface Place {
  readonly dir: string;
  /** Writes a file below the place, directories included. */
  write(path: string, text: string): string;
  start(...words: string[]): Started;
  run(...words: string[]): Promise<Ended>;
  /** Adds to the environment of what is started from now on. */
  env(more: Record<string, string>): void;
  /** Ends what still runs, and removes everything. */
  dispose(): Promise<void>;
}

/** How long an expected word may take on a busy machine, milliseconds; running into it fails the test. */
const PATIENCE_MS = 45_000;

export function createPlace(): Place {
  const dir = mkdtempSync(join(tmpdir(), 'mhc-'));
  const children = new Set<ChildProcess>();
  const extra: Record<string, string> = {};
  const start = (...words: string[]): Started => {
    const child = spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'src/cli/main.ts'), ...words], {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        HOME: join(dir, 'home'),
        TERM: 'xterm',
        MODHOST_CONFIG: join(dir, 'modhost.toml'),
        ...extra,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.add(child);
    let out = '';
    let err = '';
    const waiting = new Set<() => void>();
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      for (const look of waiting) look();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    const ended = new Promise<Ended>((resolve) => {
      child.once('close', (code, signal) => {
        children.delete(child);
        resolve({ code, signal, out, err });
      });
    });
    return {
      pid: child.pid ?? 0,
      kill: (signal) => child.kill(signal),
      out: () => out,
      err: () => err,
      ended,
      until: (text) =>
        new Promise((resolve, reject) => {
          const fail = (why: string): void => {
            waiting.delete(look);
            clearTimeout(timer);
            reject(new Error(`${why} before ${text}; it said:\n${out}\n${err}`));
          };
          const timer = setTimeout(() => fail('no word'), PATIENCE_MS);
          const look = (): void => {
            if (typeof text === 'string' ? !out.includes(text) : !text.test(out)) return;
            waiting.delete(look);
            clearTimeout(timer);
            resolve();
          };
          waiting.add(look);
          void ended.then(() => fail('it ended'));
          look();
        }),
    };
  };
  return {
    dir,
    start,
    run: (...words) => start(...words).ended,
    env: (more) => void Object.assign(extra, more),
    write(path, text) {
      const full = join(dir, path);
      mkdirSync(dirname(full), { recursive: true });
      writeFileSync(full, text);
      return full;
    },
    async dispose() {
      for (const child of children) child.kill('SIGKILL');
      await Promise.all([...children].map((child) => new Promise((resolve) => child.once('close', resolve))));
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The operator's file of the tests: a devchain that forgets, and everything below the place. */
export function writeConfig(place: Place, more = ''): void {
  mkdirSync(join(place.dir, 'm'), { recursive: true });
  place.write(
    'modhost.toml',
    `[node]
kind = "devchain"
persist = false
premine_blocks = 2
[paths]
modules = "m"
data = "d"
sockets = "s"
${more}`,
  );
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // a zombie answers too; its command line is empty
    return !existsSync(`/proc/${pid}/stat`) || existsSync(`/proc/${pid}/exe`);
  } catch {
    return false;
  }
}
