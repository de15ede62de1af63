import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import type { WatchIntervals } from '../jsonrpc/node-watch.js';
import type { NetworkName } from '../node-api.js';

/** Calls in flight where the operator says nothing. btcd closes each connection after its answer and takes ten. */
export const DEFAULT_CALLS_IN_FLIGHT = 2;

/** btcd refuses more clients than this by default (rpcmaxclients). */
const MAX_CALLS_IN_FLIGHT = 8;

const RPC_PORTS: Readonly<Record<NetworkName, number>> = {
  main: 8334,
  test: 18334,
  testnet4: 48334,
  signet: 38332,
  regtest: 18334,
  unknown: 8334,
};

/** How to reach a btcd node. */
export interface BtcdOptions {
  /** `https://host:port` or `http://host:port`; without it the default port of the network on 127.0.0.1. */
  url?: string | undefined;
  user: string;
  password: string;
  /** False: plain HTTP, for a btcd that runs with notls. Only where the URL does not say. */
  tls: boolean;
  /** File of the certificate to trust; without it btcd's own, `rpc.cert` of its home. */
  tlsCa?: string | undefined;
  /** Network that the node must be on; chooses the default port. */
  network?: NetworkName | undefined;
  /** False: no WebSocket, polling alone. */
  websocket: boolean;
  maxCallsInFlight: number;
  /** Times between two looks, where the defaults do not fit. */
  intervals?: Partial<WatchIntervals> | undefined;
}

/** The operator's `[node]` table for `kind = "btcd"`, without `kind`; gives BtcdOptions. */
export const btcdOptionsSchema = z
  .strictObject({
    url: z.string().optional(),
    user: z.string().min(1),
    password: z.string(),
    tls: z.boolean().default(true),
    tls_ca: z.string().min(1).optional(),
    network: z.enum(['main', 'test', 'testnet4', 'signet', 'regtest']).optional(),
    websocket: z.boolean().default(true),
    max_calls_in_flight: z.number().int().min(1).max(MAX_CALLS_IN_FLIGHT).default(DEFAULT_CALLS_IN_FLIGHT),
    poll_ms: z.number().int().min(100).max(600_000).optional(),
  })
  .transform(
    (table): BtcdOptions => ({
      url: table.url,
      user: table.user,
      password: table.password,
      tls: table.tls,
      tlsCa: table.tls_ca,
      network: table.network,
      websocket: table.websocket,
      maxCallsInFlight: table.max_calls_in_flight,
      intervals: table.poll_ms === undefined ? undefined : { chainMs: table.poll_ms },
    }),
  );

/** URL that the options amount to. */
export function btcdUrl(options: BtcdOptions): string {
  const scheme = options.tls ? 'https' : 'http';
  return options.url ?? `${scheme}://127.0.0.1:${RPC_PORTS[options.network ?? 'main']}`;
}

/** Directory of btcd's own files where the operator names none. */
export function btcdHome(): string {
  return process.platform === 'darwin'
    ? join(homedir(), 'Library', 'Application Support', 'Btcd')
    : join(homedir(), '.btcd');
}

/**
 * Certificate to trust, or undefined for the system's authorities. The one that the operator names must be readable;
 * btcd's own is taken where it is found.
 *
 * @throws BAD_CONFIG
 */
export async function readCertificate(options: BtcdOptions): Promise<Buffer | undefined> {
  if (!btcdUrl(options).startsWith('https:')) return undefined;
  try {
    return await readFile(options.tlsCa ?? join(btcdHome(), 'rpc.cert'));
  } catch (error) {
    if (options.tlsCa === undefined) return undefined;
    throw new HostError('BAD_CONFIG', `[node] tls_ca cannot be read: ${options.tlsCa}`, { cause: error });
  }
}
