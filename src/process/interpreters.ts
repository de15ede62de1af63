import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { HostError } from '../contract/error.js';

/** The operator's table: the name a manifest may write, and the program on this machine. */
export type Interpreters = ReadonlyMap<string, string>;

/** Packages that bring the interpreters of the default table, for messages. */
const PACKAGES: ReadonlyMap<string, string> = new Map([
  ['python', 'python3'],
  ['python3', 'python3'],
  ['java', 'default-jre-headless'],
]);

/**
 * The table without an operator's entries: the system's Python and Java, and the Node that runs the host. Never what is
 * first in PATH: a version manager's shim does not work in a sandbox that cannot see the operator's home.
 */
export function defaultInterpreters(operator: Iterable<readonly [string, string]> = []): Interpreters {
  return new Map<string, string>([
    ['python', '/usr/bin/python3'],
    ['python3', '/usr/bin/python3'],
    ['node', process.execPath],
    ['java', '/usr/bin/java'],
    ...operator,
  ]);
}

/**
 * The program behind an interpreter's name.
 *
 * @throws HostError INTERPRETER_MISSING with the cure
 */
export async function resolveInterpreter(name: string, table: Interpreters): Promise<string> {
  const path = table.get(name);
  if (path === undefined) {
    throw new HostError(
      'INTERPRETER_MISSING',
      `interpreter '${name}' is not in the operator's table (${[...table.keys()].join(', ')}): add [interpreters] ${name} = "/path"`,
      { details: { interpreter: name } },
    );
  }
  try {
    await access(path, constants.X_OK);
  } catch (cause) {
    const apt = PACKAGES.get(name);
    throw new HostError(
      'INTERPRETER_MISSING',
      `interpreter '${name}' is not at ${path}: ${apt ? `apt install ${apt}, or ` : ''}set [interpreters] ${name} = "/path"`,
      { details: { interpreter: name, path }, cause },
    );
  }
  return path;
}
