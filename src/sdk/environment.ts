import { readFileSync } from 'node:fs';
import { ModhostError } from './error.js';

/** What a host hands to the program that it starts. */
export interface ModuleEnvironment {
  /** Path of this spawn's socket. */
  socketPath: string;
  /** Path of the file with this spawn's token; the host removes it after the first handshake. */
  tokenFile: string;
  /** The module's name, as in its manifest. */
  moduleId: string;
  /** Id of this spawn. */
  instanceId: string;
  /** Directory that the module may write to, and that survives it. */
  dataDir: string;
}

/**
 * Reads what the host has put into the environment.
 *
 * @throws ModhostError NOT_STARTED_BY_HOST with a hint for whoever started the program by hand
 */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): ModuleEnvironment {
  const read = (name: string): string => {
    const value = env[name];
    if (value !== undefined && value !== '') return value;
    throw new ModhostError(
      'NOT_STARTED_BY_HOST',
      `${name} is not set: this is a module, and a host starts it. Run it by 'modhost run' with its folder as ` +
        '[modules.NAME] path in the operator\'s file; with run = "external" there, set the variables that the host tells',
    );
  };
  return {
    socketPath: read('MODHOST_SOCKET'),
    tokenFile: read('MODHOST_TOKEN_FILE'),
    moduleId: read('MODHOST_MODULE_ID'),
    instanceId: env.MODHOST_INSTANCE_ID ?? '',
    dataDir: read('MODHOST_DATA_DIR'),
  };
}

/** Bytes of a token file, or undefined when it is gone. */
export function readToken(tokenFile: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(tokenFile));
  } catch {
    return undefined;
  }
}
