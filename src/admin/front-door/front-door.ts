import type { AddressInfo } from 'node:net';
import { HostError } from '../../contract/error.js';
import { HOST_METHODS } from '../../contract/node-methods.js';
import type { Logger } from '../../core/logger.js';
import { COOKIE_BYTES, createDoorkeeper, removeCookie, writeCookie } from './credentials.js';
import { createDispatch, type DispatchParts } from './dispatch.js';
import { createDoor, type Door } from './http.js';
import { createPages, type PageParts } from './pages.js';

/** Port of the daemon, beside Bitcoin Core's 8332. */
export const DEFAULT_RPC_PORT = 8338;
/** Addresses that the door may stand at: nobody else's machine reaches them. */
export const LOOPBACK_ADDRESSES = ['127.0.0.1', '::1'] as const;
/** Names of methods that may be handed on, as nodes have them. */
const NODE_METHOD = /^[a-z][a-z0-9]{0,63}$/;
/** Most methods that are handed on: more than any node has. */
const MAX_PASSTHROUGH = 256;

/** Where the door stands and who may come in. */
export interface FrontDoorSettings {
  /** One of LOOPBACK_ADDRESSES. */
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  readonly cookieFile: string;
  /** `user:salt$hmac` each. */
  readonly rpcauth: readonly string[];
  readonly passthrough: readonly string[];
  /** True when /metrics, /healthz and /readyz need the password too. */
  readonly metricsAuth: boolean;
}

/** What the door is made of. */
export interface FrontDoorParts extends DispatchParts, PageParts {
  readonly settings: FrontDoorSettings;
  readonly log: Logger;
  /** Random bytes for the password. */
  randomBytes(count: number): Uint8Array;
}

/** A door that is open. */
export interface FrontDoor {
  /** `http://127.0.0.1:8338`. */
  readonly url: string;
  readonly port: number;
  readonly cookieFile: string;
  /** Ends every connection and removes the cookie. */
  close(): Promise<void>;
}

/**
 * Refuses settings that cannot be meant.
 *
 * @throws HostError BAD_CONFIG with `key` in details
 */
export function assertFrontDoorSettings(settings: FrontDoorSettings): void {
  const { address, port, passthrough } = settings;
  const fail = (key: string, text: string): never => {
    throw new HostError('BAD_CONFIG', `rpc.${key} ${text}`, { details: { key: `rpc.${key}` } });
  };
  if (!LOOPBACK_ADDRESSES.some((one) => one === address)) {
    fail('address', `must be ${LOOPBACK_ADDRESSES.join(' or ')}: the door is for this machine alone`);
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) fail('port', 'must be a port, or 0 for any free one');
  if (passthrough.length > MAX_PASSTHROUGH) fail('passthrough', `has more than ${MAX_PASSTHROUGH} names`);
  for (const method of passthrough) {
    if (!NODE_METHOD.test(method))
      fail('passthrough', 'takes the names of methods, each by itself: there are no patterns');
    if (HOST_METHODS.has(method)) fail('passthrough', `cannot hand on ${method}: the host answers it`);
  }
  createDoorkeeper('', settings.rpcauth);
}

/**
 * Opens the front door: a cookie is written, then the port answers.
 *
 * @throws HostError BAD_CONFIG (settings, a port that is taken, a cookie file that cannot be written)
 */
export async function openFrontDoor(parts: FrontDoorParts): Promise<FrontDoor> {
  const { settings } = parts;
  assertFrontDoorSettings(settings);
  const password = Buffer.from(parts.randomBytes(COOKIE_BYTES)).toString('hex');
  const door = createDoor({
    dispatch: createDispatch(parts),
    doorkeeper: createDoorkeeper(password, settings.rpcauth),
    pages: createPages(parts),
    pagesAuth: settings.metricsAuth,
    log: parts.log,
  });
  const port = await listen(door, settings, parts.log);
  try {
    // only who has the port writes the cookie: two hosts that meet must not take it from each other
    writeCookie(settings.cookieFile, password);
  } catch (error) {
    await door.close();
    throw error;
  }
  const host = settings.address.includes(':') ? `[${settings.address}]` : settings.address;
  const url = `http://${host}:${port}`;
  parts.log.info({ url, cookie: settings.cookieFile }, 'the front door is open');
  return {
    url,
    port,
    cookieFile: settings.cookieFile,
    async close() {
      removeCookie(settings.cookieFile, password);
      await door.close();
    },
  };
}

function listen({ server }: Door, { address, port }: FrontDoorSettings, log: Logger): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const text = `the front door cannot stand at ${address} port ${port} (${cause.code ?? cause.message})`;
      reject(new HostError('BAD_CONFIG', text, { details: { key: 'rpc.port' }, cause }));
    });
    server.listen({ host: address, port }, () => {
      server.removeAllListeners('error');
      server.on('error', (err) => log.error({ err }, 'the front door has trouble with its port'));
      resolve((server.address() as AddressInfo).port);
    });
  });
}
