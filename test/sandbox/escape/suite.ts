import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StartSpec } from '../../../src/process/runner.js';
import { INNER } from '../../../src/sandbox/bubblewrap-arguments.js';
import type { Place } from '../spawn-module.js';
import { plantSecrets } from './plant.js';

/** What became of one probe: `done`, the name of an errno, or the signal that ended it. */
export interface ProbeAnswer {
  readonly outcome: string;
  /** What it got hold of. */
  readonly found: string;
}

/** One run of the suite on one machine by one user of the host. */
export interface SuiteReport {
  /** User of the host. */
  readonly uid: number;
  /** True when the module ran as a user of its own. */
  readonly ownUsers: boolean;
  /** What the host reports of its sandbox. */
  readonly containment: readonly { readonly name: string; readonly state: string }[];
  readonly inside: Readonly<Record<string, ProbeAnswer>>;
  /** The same in a module with a network namespace in which nothing is granted. */
  readonly insideNetwork: Readonly<Record<string, ProbeAnswer>>;
  /** The same probes outside; what an ordinary user may not do anywhere is refused there as well. */
  readonly outside: Readonly<Record<string, ProbeAnswer>>;
}

/** What a run needs. */
export interface SuiteOptions {
  /** Text of everything planted; also to be in this process's environment as MODHOST_TEST_SECRET. */
  readonly secret: string;
  /** Directory with `probes`, `probes.py` and, where root has made it, `probes-setuid`. */
  readonly build: string;
  /** Where directories may be made. */
  readonly parent: string;
}

/**
 * Runs every probe in a module's sandbox, by the runner and the engine that modules get, and then outside of it, as the
 * user and with the privileges of this process.
 */
export async function runEscapeSuite({ secret, build, parent }: SuiteOptions): Promise<SuiteReport> {
  const { place, prey, remove } = await plantSecrets(secret, build, parent);
  try {
    const inner = { data: INNER.data, code: INNER.code, socketdir: INNER.socket, walk: '/', uid: '1000', first: '1' };
    const inside = await probeInside(place, { ...prey, ...inner }, { extraReadOnly: [build] });
    const network = { extraReadOnly: [build], network: { hosts: [] } };
    const insideNetwork = await probeInside(place, { ...prey, ...inner }, network);
    const { data, code, socket: socketdir } = place.directories;
    const outer = {
      data,
      code,
      socketdir,
      walk: place.root,
      uid: String(process.getuid?.() ?? 0),
      first: prey.hostpid ?? '',
    };
    const outside = await probeOutside({ ...prey, ...outer }, build);
    return {
      uid: process.getuid?.() ?? 0,
      ownUsers: place.ownUsers,
      containment: place.engine.containment(),
      inside,
      insideNetwork,
      outside,
    };
  } finally {
    await remove();
  }
}

const argumentsOf = (values: Readonly<Record<string, string>>): string[] =>
  Object.entries(values).map(([name, value]) => `${name}=${value}`);

/** Programs of the suite, and the file that each writes: the log of a module is bounded, a file is not. */
const PROGRAMS: readonly (readonly [file: string, interpreter: readonly string[]])[] = [
  ['probes', []],
  ['probes.py', ['/usr/bin/python3']],
];

async function probeInside(
  place: Place,
  values: Readonly<Record<string, string>>,
  options: Partial<StartSpec>,
): Promise<Record<string, ProbeAnswer>> {
  const answers: Record<string, ProbeAnswer> = {};
  for (const [file, interpreter] of PROGRAMS) {
    const quoted = argumentsOf(values).map((value) => `'${value}'`);
    const command = [...interpreter, `${INNER.code}/${file}`, ...quoted].join(' ');
    const script = `#!/bin/sh\nexec ${command} >"$DATA_DIR/${file}.answers"`;
    const exit = await place.run(script, options);
    if (exit.code !== 0 || exit.stderr !== '') throw new Error(`${file}: ${JSON.stringify(exit)}`);
    Object.assign(answers, parseAnswers(await readFile(join(place.directories.data, `${file}.answers`), 'latin1')));
  }
  return answers;
}

/** Root's twin has a view of the mounts and a host name of its own, so that success changes nothing on the machine. */
const PRIVATE = ['unshare', '--mount', '--uts', '--propagation', 'private', '--'];

async function probeOutside(
  values: Readonly<Record<string, string>>,
  build: string,
): Promise<Record<string, ProbeAnswer>> {
  const answers: Record<string, ProbeAnswer> = {};
  for (const [file, interpreter] of PROGRAMS) {
    const around = process.getuid?.() === 0 ? PRIVATE : [];
    const [program = '', ...args] = [...around, ...interpreter, join(build, file), ...argumentsOf(values)];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: values.data });
    let text = '';
    child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    if (code !== 0) throw new Error(`${file} ended with ${code} outside`);
    Object.assign(answers, parseAnswers(text));
  }
  return answers;
}

function parseAnswers(text: string): Record<string, ProbeAnswer> {
  return Object.fromEntries(
    text
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [name = '', outcome = '', found = ''] = line.split('\t');
        return [name, { outcome, found }];
      }),
  );
}
