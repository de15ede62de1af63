import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Candidate, type CompletionSources, complete } from '../../src/cli/completion.js';
import { completionScript } from '../../src/cli/completion-scripts.js';
import { buildProgram } from '../../src/cli/program.js';
import { createPlace, recordTerminal } from './command-line.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const program = buildProgram(
  {
    terminal: recordTerminal().terminal,
    env: {},
    words: () => {
      throw new Error('completion needs no words of the contract');
    },
    onSignal: () => () => {},
    exitNow: (code) => {
      throw new Error(`exit ${code}`);
    },
  },
  async () => {},
);

const SOURCES: CompletionSources = {
  modules: async () => [
    ['block-watch', 'tells blocks'],
    ['payout', ''],
    // a directory of this name would otherwise be a command in the operator's hands
    ['$(rm -rf ~)', ''],
  ],
  moduleCommands: async (set, command) => {
    if (set === undefined) return [['watch', '']];
    return (command === undefined ? [['add', '']] : [['--depth', 'how deep']]) satisfies Candidate[];
  },
  events: () => [
    ['NewBlock', ''],
    ['NewTransaction', ''],
  ],
};

const offered = async (...words: string[]): Promise<readonly string[] | 'files'> => {
  const offer = await complete(program, words, SOURCES);
  return offer === 'files' ? offer : offer.map(([word]) => word);
};

describe('completion', () => {
  it.each([
    [['lo'], ['load', 'logs']],
    [
      ['load', ''],
      ['block-watch', 'payout'],
    ],
    [['load', 'b'], ['block-watch']],
    [['load', 'block-watch', ''], []],
    [['logs', '-f', 'h'], ['host']],
    [
      ['logs', 'block-watch', ''],
      ['host', 'payout'],
    ],
    [['logs', '--lev'], ['--level']],
    [['logs', '--level', 'w'], ['warn']],
    [['logs', '--level=w'], ['warn']],
    // as bash takes the words apart
    [['logs', '--level', '=', 'w'], ['warn']],
    [
      ['top', '--sort', ''],
      ['cpu', 'memory', 'calls', 'node'],
    ],
    [['events', 'NewB'], ['NewBlock']],
    [['events', 'NewBlock', 'New'], ['NewTransaction']],
    [['devchain', 'm'], ['mine']],
    [['run', '--allow-unsigned', 'p'], ['payout']],
    [['cli', ''], ['watch']],
    [['cli', 'watch', ''], ['add']],
    [['cli', '--json', 'watch', 'add', '--'], ['--depth']],
    [['completion', 'z'], ['zsh']],
    [['nonsense', ''], []],
    [['load', '--', '-'], []],
    [['compl'], ['completion']],
  ])('goes on from %j', async (words, expected) => {
    expect(await offered(...words)).toEqual(expected);
  });

  it('leaves files to the shell', async () => {
    expect(await offered('config', 'check', '')).toBe('files');
    expect(await offered('status', '--config', '')).toBe('files');
  });
});

describe('the script for bash', () => {
  const place = createPlace();
  beforeAll(() => {
    const bin = place.write(
      'bin/modhost',
      `#!/bin/sh\ncd ${ROOT} && exec ${process.execPath} --import tsx src/cli/main.ts "$@"\n`,
    );
    chmodSync(bin, 0o755);
  });
  afterAll(() => place.dispose());

  it('completes in a real bash, quietly where no host runs', () => {
    const script = `set -u
source <(modhost completion bash)
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _modhost; echo "\${COMPREPLY[*]-}"; }
complete -p modhost
try modhost ena
try modhost load ''
try modhost logs --level = w`;
    const env = {
      PATH: `${join(place.dir, 'bin')}:${process.env.PATH}`,
      HOME: join(place.dir, 'home'),
      // a host of this machine's own is none of the test's
      MODHOST_SOCKET_DIR: join(place.dir, 'no-host'),
    };
    const out = execFileSync('bash', ['--norc', '-c', script], { env, encoding: 'utf8' });
    expect(out.split('\n')).toEqual(['complete -F _modhost modhost', 'enable', '', 'warn', '']);
  }, 60_000);

  it('is well-formed', () => {
    execFileSync('bash', ['-n'], { input: completionScript('bash') });
  });
});
