import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { delay } from '../../src/core/delay.js';
import { launchWord } from '../../src/sandbox/gate.js';
import { processesWith } from '../process/processes-with.js';

/** Lanes of the module that write to its storage; see test/go/ledger. */
const LANES = 8;
/** Longest time that a host lives after its module has begun to write, milliseconds. */
const WRITING_MS = 400;
/** How long a start takes before one was seen, milliseconds; and how far beyond it kills of starts reach. */
const FIRST_START_MS = 2_000;
const BEYOND_START = 1.1;
/** A host whose module does not find its data again has failed, milliseconds. */
const START_TIMEOUT_MS = 240_000;
/** Host's death to the last process gone: the promise of the founding document's containment. */
const GONE_WITHIN_MS = 2_000;
/** How calls fail under a module whose host goes. */
const HOST_GONE = ['Canceled', 'Unavailable', 'HOST_STOPPING', 'CANCELLED', 'SESSION_CLOSED'];

/** What the lane is made of. */
export interface LaneParts {
  /** The host's program and the module's, see `programs.ts`. */
  readonly host: string;
  readonly ledger: string;
  /** A directory for this lane alone. */
  readonly root: string;
  /** Name of the module: nobody else's on this machine. */
  readonly name: string;
  /** An ordinary user as whom the hosts run; undefined: this one. */
  readonly uid: number | undefined;
}

/** When a host is killed: while it starts, or while its module writes; `at` of that time, 0 to 1. */
export interface Kill {
  readonly during: 'start' | 'writing';
  readonly at: number;
}

/** What became of the kills of a lane. */
export interface Tally {
  kills: number;
  /** Kills before the module had found its data, and after. */
  starting: number;
  writing: number;
  /** Writes that the storage and the file acknowledged. */
  stored: number;
  filed: number;
  /** Time from the first to the last write of each life, milliseconds. */
  writingMs: number;
  /** Writes that were found though nobody had heard of their end: the one under way at most, in each lane. */
  unheard: number;
  /** Unfinished files that killed hosts left behind. */
  staged: number;
}

/** One data directory in which one host after the other starts and is killed. */
export interface Lane {
  readonly tally: Tally;
  /** Starts a host, kills it, and compares what its module found with what was acknowledged before. @throws Error what is wrong */
  killOnce(kill: Kill): Promise<void>;
  /** Starts a host for the last time, has its module prove everything, and stops it. @throws Error what is wrong */
  finish(): Promise<void>;
  /** Ends a host that a failed test has left. */
  dispose(): void;
}

/** One line that the module wrote down. */
type Told =
  | { kind: 'found'; steps: number[]; file: number }
  | { kind: 'stored'; lane: number; step: number; at: number }
  | { kind: 'filed'; step: number }
  | { kind: 'wrong'; what: string }
  | { kind: 'failed'; reason: string; what: string };

interface RunningHost {
  readonly child: ChildProcess;
  readonly closed: Promise<unknown>;
  printed(): string;
}

/** Writes the module's directory; nothing runs yet. */
export function createLane({ host, ledger, root, name, uid }: LaneParts): Lane {
  const moduleDir = join(root, 'm', name);
  const toldPath = join(root, 'd', 'modules', name, 'told.jsonl');
  const staging = join(root, 'd', 'files', name, 'staging');
  chmodSync(root, 0o711);
  mkdirSync(moduleDir, { recursive: true, mode: 0o755 });
  copyFileSync(ledger, join(moduleDir, name));
  const capabilities = ['read_storage', 'write_storage', 'manage_storage', 'read_filesystem', 'write_filesystem'];
  writeFileSync(
    join(moduleDir, 'module.toml'),
    `name = "${name}"\nversion = "1.0.0"\ncapabilities = ${JSON.stringify(capabilities)}\n`,
  );
  if (uid !== undefined) chownSync(root, uid, uid);

  const tally: Tally = {
    ...{ kills: 0, starting: 0, writing: 0, stored: 0, filed: 0 },
    ...{ writingMs: 0, unheard: 0, staged: 0 },
  };
  const stored = Array<number>(LANES).fill(0);
  let filed = 0;
  let left: readonly string[] = [];
  let startMs = FIRST_START_MS;
  let running: RunningHost | undefined;

  const start = (): RunningHost => {
    rmSync(toldPath, { force: true });
    const user = uid === undefined ? [] : ['setpriv', '--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'];
    const [file = '', ...args] = [...user, process.execPath, host, root, name];
    const env = { PATH: process.env.PATH, HOME: root };
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    }
    running = { child, closed: once(child, 'close'), printed: () => text };
    return running;
  };

  const told = (): Told[] => {
    let text: string;
    try {
      text = readFileSync(toldPath, 'utf8');
    } catch {
      return [];
    }
    // the last line may have been cut by the kill
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Told);
  };

  /** Waits until the module has proved what it found, and has written something on. */
  const untilWriting = async (at: RunningHost): Promise<void> => {
    const begun = performance.now();
    while (!told().some(({ kind }) => kind === 'stored')) {
      const isOver = at.child.exitCode !== null || /^failed/m.test(at.printed());
      if (isOver || performance.now() - begun > START_TIMEOUT_MS) throw new Error(report(at, 'does not write'));
      await delay(5);
    }
    startMs = performance.now() - begun;
    const kept = stagedNow().filter((file) => left.includes(file));
    if (kept.length > 0) throw new Error(report(at, `unfinished writes were not swept: ${kept}`));
  };

  const stagedNow = (): string[] => {
    try {
      return readdirSync(staging);
    } catch {
      return [];
    }
  };

  const report = ({ printed }: RunningHost, what: string): string =>
    `kill ${tally.kills} of ${name}: ${what}\n${JSON.stringify(told().filter(({ kind }) => kind !== 'stored' && kind !== 'filed'))}\n${printed()}`;

  /** Takes over what the module told in one life of its host. */
  const takeOver = (at: RunningHost): void => {
    const wrong = (what: string): Error => new Error(report(at, what));
    /** Something acknowledged must be there; one write more may be, whose end nobody has heard of. */
    const compare = (what: string, was: number, found: number | undefined): number => {
      if (found !== was && found !== was + 1) throw wrong(`${what}: ${was} acknowledged, ${found} found`);
      tally.unheard += found - was;
      return found;
    };
    const times = told().flatMap((line) => (line.kind === 'stored' ? [line.at] : []));
    tally.writingMs += (times.at(-1) ?? 0) - (times[0] ?? 0);
    for (const line of told()) {
      if (line.kind === 'wrong') throw wrong(line.what);
      if (line.kind === 'failed' && !HOST_GONE.includes(line.reason)) throw wrong(`${line.reason} ${line.what}`);
      if (line.kind === 'found') {
        for (const [lane, was] of stored.entries()) stored[lane] = compare(`lane ${lane}`, was, line.steps[lane]);
        filed = compare('the file', filed, line.file);
      }
      if (line.kind === 'stored') {
        stored[line.lane] = line.step;
        tally.stored += 1;
      }
      if (line.kind === 'filed') {
        filed = line.step;
        tally.filed += 1;
      }
    }
  };

  const assertNobodyLeft = async (at: RunningHost): Promise<void> => {
    const words = [name, ...launchWords(root)];
    const end = performance.now() + GONE_WITHIN_MS;
    for (;;) {
      const found = processesWith(words, undefined);
      if (found.length === 0) return;
      if (performance.now() > end) throw new Error(report(at, `outlived its host: ${found.join('\n')}`));
      await delay(20);
    }
  };

  return {
    tally,
    async killOnce({ during, at }) {
      const host = start();
      if (during === 'writing') {
        await untilWriting(host);
        await delay(at * WRITING_MS);
      } else await delay(at * startMs * BEYOND_START);
      if (host.child.exitCode !== null) throw new Error(report(host, 'ended by itself'));
      host.child.kill('SIGKILL');
      await host.closed;
      await assertNobodyLeft(host);
      tally.kills += 1;
      if (told().some(({ kind }) => kind === 'found')) tally.writing += 1;
      else tally.starting += 1;
      takeOver(host);
      left = stagedNow();
      tally.staged += left.length;
    },
    async finish() {
      const host = start();
      await untilWriting(host);
      host.child.stdin?.write('stop\n');
      await host.closed;
      if (host.child.exitCode !== 0) throw new Error(report(host, 'did not stop in order'));
      takeOver(host);
      const kept = stagedNow();
      if (kept.length > 0) throw new Error(report(host, `a stopped host left unfinished writes: ${kept}`));
    },
    dispose: () => void running?.child.kill('SIGKILL'),
  };
}

/** What the sandbox of the host has on its command lines; nothing before its socket directory was made. */
function launchWords(root: string): string[] {
  try {
    return [launchWord(join(root, 's'))];
  } catch {
    return [];
  }
}
