import { homedir } from 'node:os';
import { join } from 'node:path';

/** Networks that get directories of their own below the default ones; the devchain is one of its own. */
export const NETWORK_DIRS = ['main', 'test', 'testnet4', 'signet', 'regtest', 'devchain'] as const;

/** Where things lie when the operator says nothing. */
export interface DefaultPlaces {
  /** The operator's file; it need not exist. */
  config: string;
  /** Root of the data, one directory per network below it. */
  data: string;
  /** Root of the sockets, one directory per network below it. */
  sockets: string;
}

/**
 * The system's places for root, the user's for everybody else.
 *
 * @see XDG Base Directory Specification; Filesystem Hierarchy Standard 3.0
 */
export function defaultPlaces(env: NodeJS.ProcessEnv): DefaultPlaces {
  if (process.getuid?.() === 0) {
    return { config: '/etc/modhost/modhost.toml', data: '/var/lib/modhost', sockets: '/run/modhost' };
  }
  const home = env.HOME ?? homedir();
  const data = join(absolute(env.XDG_DATA_HOME) ?? join(home, '.local', 'share'), 'modhost');
  const runtime = absolute(env.XDG_RUNTIME_DIR);
  return {
    config: join(absolute(env.XDG_CONFIG_HOME) ?? join(home, '.config'), 'modhost', 'modhost.toml'),
    data,
    // without a login session there is no runtime directory, and /tmp belongs to everybody
    sockets: runtime === undefined ? join(data, 'run') : join(runtime, 'modhost'),
  };
}

/** The XDG specification has relative paths ignored. */
function absolute(path: string | undefined): string | undefined {
  return path?.startsWith('/') === true ? path : undefined;
}
