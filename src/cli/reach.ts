import { lstatSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type AdminClient, createAdminClient } from '../client/admin-client.js';
import { HostError } from '../contract/error.js';
import { ADMIN_SOCKET } from '../host/admin-socket.js';
import type { CommandContext } from './context.js';
import { defaultPlaces, NETWORK_DIRS } from './places.js';
import { findConfig, type PlaceFlags } from './settings.js';

/**
 * Path of the operator's socket of the host that is meant: the one of the socket directory that flag, environment or
 * file names, else the only one below the default directory.
 *
 * @throws HostError SESSION_CLOSED when no host runs there, BAD_CONFIG when several do and none was chosen
 */
export function findAdminSocket(flags: PlaceFlags, env: NodeJS.ProcessEnv): string {
  const named = flags.socketDir ?? findConfig(flags.config, env).config.paths.sockets;
  if (named !== undefined) {
    const path = join(resolve(named), ADMIN_SOCKET);
    if (isSocket(path)) return path;
    throw new HostError('SESSION_CLOSED', `no host runs on ${path}; start one with: modhost run`);
  }
  const root = defaultPlaces(env).sockets;
  const networks = NETWORK_DIRS.filter((name) => flags.network === undefined || flags.network === name);
  const running = networks.filter((name) => isSocket(join(root, name, ADMIN_SOCKET)));
  const [network] = running;
  if (network === undefined) {
    throw new HostError(
      'SESSION_CLOSED',
      `no host runs below ${root}; start one with: modhost run, or name its directory with --socket-dir`,
    );
  }
  if (running.length > 1) {
    throw new HostError('BAD_CONFIG', `several hosts run (${running.join(', ')}); choose one with --network`);
  }
  return join(root, network, ADMIN_SOCKET);
}

/** Does some work with a running host, and lets go of it. */
export async function withHost<T>(
  flags: PlaceFlags & { timeout?: number },
  env: NodeJS.ProcessEnv,
  work: (client: AdminClient) => Promise<T>,
): Promise<T> {
  const socket = findAdminSocket(flags, env);
  const client = createAdminClient(socket, flags.timeout === undefined ? {} : { timeoutMs: flags.timeout * 1_000 });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** Follows a stream of a host; that the host stops is the end of it and no failure. */
export async function followHost(
  flags: PlaceFlags,
  { env, terminal }: Pick<CommandContext, 'env' | 'terminal'>,
  work: (client: AdminClient) => Promise<void>,
): Promise<void> {
  try {
    await withHost(flags, env, work);
  } catch (thrown) {
    if (!(thrown instanceof HostError && thrown.reason === 'HOST_STOPPING')) throw thrown;
    terminal.tell('the host is stopping');
  }
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}
