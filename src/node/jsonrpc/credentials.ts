import { readFile } from 'node:fs/promises';

import { HostError } from '../../contract/error.js';

/** How the host proves itself to the node. */
export type Credentials =
  | { kind: 'password'; user: string; password: string }
  /** Bitcoin Core writes a new cookie at each start and removes it at its end. */
  | { kind: 'cookie'; path: string }
  | { kind: 'none' };

/** A cookie is `__cookie__:` and 64 hex digits; a file above this is something else. */
const MAX_COOKIE_BYTES = 1_024;

/** Source of the Authorization header. */
export interface Authorization {
  /** Value of the header, or undefined without credentials. @throws NODE_UNAVAILABLE, NODE_AUTH for a cookie file */
  header(): Promise<string | undefined>;
  /** After a refusal: reads the cookie again; true when it differs from the one refused, so that a retry is worth it. */
  refresh(): Promise<boolean>;
}

/** Makes the header of these credentials; a cookie is read at first use and after a refusal. */
export function createAuthorization(credentials: Credentials): Authorization {
  let cached: string | undefined;
  const read = async (): Promise<string | undefined> => {
    if (credentials.kind === 'none') return undefined;
    if (credentials.kind === 'password') return basic(`${credentials.user}:${credentials.password}`);
    return basic(await readCookie(credentials.path));
  };
  return {
    async header() {
      cached ??= await read();
      return cached;
    },
    async refresh() {
      if (credentials.kind !== 'cookie') return false;
      const before = cached;
      cached = await read();
      return cached !== before;
    },
  };
}

function basic(pair: string): string {
  return `Basic ${Buffer.from(pair, 'utf8').toString('base64')}`;
}

async function readCookie(path: string): Promise<string> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') {
      // The node removes its cookie when it stops: absence means "not running", which heals by itself.
      throw new HostError('NODE_UNAVAILABLE', 'the node has no cookie file; it is not running, or keeps it elsewhere', {
        retryAfterMs: 2_000,
        cause: error,
      });
    }
    throw new HostError('NODE_AUTH', `the node's cookie file cannot be read (${code ?? 'unknown cause'})`, {
      cause: error,
    });
  }
  const text = content.toString('utf8').trim();
  if (content.byteLength > MAX_COOKIE_BYTES || !text.includes(':') || text.includes('\n')) {
    throw new HostError('NODE_AUTH', 'the cookie file holds no cookie of a node');
  }
  return text;
}
