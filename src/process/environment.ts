import type { ModuleDirectories } from '../sandbox/engine.js';

/** PATH of a module: the system's programs and nothing of the operator's. */
export const MODULE_PATH = '/usr/local/bin:/usr/bin:/bin';

/** Names of the files in a spawn's socket directory. */
export interface SocketFiles {
  /** The socket to dial, for example `module.sock`. */
  readonly socket: string;
  /** The file with the spawn's 32 bytes. */
  readonly token: string;
}

/**
 * The whole environment of a module: what it needs to find its host, the aliases of the founding document, PATH, and what
 * its own manifest adds. Nothing of the host's environment is in it.
 *
 * @param view     directories as the module sees them
 * @param declared `[run].env` of the manifest; it cannot replace what the host sets
 */
export function moduleEnvironment(
  module: { readonly name: string; readonly instanceId: string },
  view: ModuleDirectories,
  files: SocketFiles,
  declared: ReadonlyMap<string, string>,
): Record<string, string> {
  const socket = `${view.socket}/${files.socket}`;
  return {
    PATH: MODULE_PATH,
    ...Object.fromEntries(declared),
    MODHOST_SOCKET: socket,
    MODHOST_TOKEN_FILE: `${view.socket}/${files.token}`,
    MODHOST_MODULE_ID: module.name,
    MODHOST_INSTANCE_ID: module.instanceId,
    MODHOST_DATA_DIR: view.data,
    SOCKET_PATH: socket,
    MODULE_ID: module.name,
    MODULE_NAME: module.name,
    DATA_DIR: view.data,
  };
}
