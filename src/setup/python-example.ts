import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type CommandResult, run, runAll } from './command.js';
import { MODULE_PYTHON } from './packages.js';
import { GRPCIO_TOOLS_VERSION } from './pins.js';
import { createStamp } from './stamp.js';
import type { Step } from './step.js';

/** Folder of the example below the package root. */
const EXAMPLE = 'conformance/modules/python';
/** What of the contract a module speaks. */
const MODULE_PROTOS = ['modhost/v1', 'modhost/event/v1'];

/**
 * Prepares the Python example: the packages of its `requirements.txt` into its `vendor/`, stubs from `proto/` into its
 * `gen/`. Both lie in the folder of the example, because the sandbox shows a module only `/usr` and its own folder.
 */
export async function pythonExample(root: string): Promise<Step> {
  const folder = join(root, EXAMPLE);
  const python = await run(MODULE_PYTHON, ['-c', 'import sys, venv, ensurepip; print(sys.version)']);
  return {
    name: 'Python example',
    usual: 'half a minute the first time',
    obstacle: obstacleOf(folder, python),
    stamp: createStamp({
      root,
      name: 'python-example',
      inputs: ['proto', `${EXAMPLE}/requirements.txt`, 'src/setup'],
      outputs: [`${EXAMPLE}/vendor`, `${EXAMPLE}/gen`],
      also: [python.tail, process.arch],
    }),
    work: () => prepare(root, folder),
  };
}

function obstacleOf(folder: string, python: CommandResult): string | undefined {
  if (!existsSync(join(folder, 'requirements.txt'))) return 'it is not part of this checkout';
  return python.ok ? undefined : `${MODULE_PYTHON} with venv is not here (Debian: python3-venv)`;
}

async function prepare(root: string, folder: string): Promise<CommandResult> {
  const venv = join(root, '.cache', 'venv-grpc-tools');
  const tools = join(venv, 'bin', 'python');
  const [proto, vendor, gen] = [join(root, 'proto'), join(folder, 'vendor'), join(folder, 'gen')];
  for (const result of [vendor, gen]) rmSync(result, { recursive: true, force: true });
  mkdirSync(gen, { recursive: true });
  // Wheels only: a source build would need a C++ compiler and twenty minutes.
  const pip = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--only-binary=:all:'];
  return runAll([
    [MODULE_PYTHON, ['-m', 'venv', '--clear', venv]],
    [tools, [...pip, `grpcio-tools==${GRPCIO_TOOLS_VERSION}`]],
    [tools, [...pip, '--target', vendor, '-r', join(folder, 'requirements.txt')]],
    [
      tools,
      [
        '-m',
        'grpc_tools.protoc',
        `-I${proto}`,
        `--python_out=${gen}`,
        `--pyi_out=${gen}`,
        `--grpc_python_out=${gen}`,
        ...MODULE_PROTOS.flatMap((path) => protoFiles(proto, path)),
      ],
    ],
    // The sandbox shows the folder read-only, so Python could never keep what it compiled.
    [tools, ['-m', 'compileall', '-q', gen]],
  ]);
}

function protoFiles(proto: string, path: string): string[] {
  return readdirSync(join(proto, path))
    .filter((name) => name.endsWith('.proto'))
    .sort()
    .map((name) => relative(proto, join(proto, path, name)));
}
