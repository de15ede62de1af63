import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import type { Credentials } from '../jsonrpc/credentials.js';
import type { WatchIntervals } from '../jsonrpc/node-watch.js';
import type { NetworkName } from '../node-api.js';
import { cookiePath, defaultDataDir, placeOf } from './places.js';

/** Calls in flight to the node where the operator says nothing: Bitcoin Core has 4 or 16 workers, shared with others. */
export const DEFAULT_CALLS_IN_FLIGHT = 2;

/** More than the workers of any node. */
const MAX_CALLS_IN_FLIGHT = 64;

/** Addresses (`tcp://host:port`, `ipc://path`) of the topics that the node publishes; `sequence` suffices. */
export interface ZmqAddresses {
  sequence?: string | undefined;
  hashblock?: string | undefined;
  hashtx?: string | undefined;
}

/** How to reach a Bitcoin Core node. */
export interface BitcoindOptions {
  /** `http://host:port`; without it the default port of the network on 127.0.0.1. */
  url?: string | undefined;
  /** User and password of `rpcauth`; without them the cookie. */
  user?: string | undefined;
  password?: string | undefined;
  /** Cookie file; without it the one of the data directory. */
  cookieFile?: string | undefined;
  /** Data directory of the node, for its cookie. */
  dataDir?: string | undefined;
  /** Network that the node must be on; chooses default port and cookie. */
  network?: NetworkName | undefined;
  /** `auto` = the addresses that the node tells; or addresses by topic; or no ZMQ. */
  zmq: 'auto' | false | ZmqAddresses;
  /** False: blocks are read by RPC even where REST is on. */
  rest: boolean;
  /** Without ZMQ: one call waits at the node for the next block. False = polling alone. */
  longPoll: boolean;
  maxCallsInFlight: number;
  /** Times between two looks, where the defaults do not fit. */
  intervals?: Partial<WatchIntervals> | undefined;
}

const zmqAddress = z.string().regex(/^(tcp|ipc):\/\/./, 'must be tcp://host:port or ipc://path');

/** The operator's `[node]` table for `kind = "bitcoind"`, without `kind`; gives BitcoindOptions. */
export const bitcoindOptionsSchema = z
  .strictObject({
    url: z.string().optional(),
    user: z.string().min(1).optional(),
    password: z.string().optional(),
    cookie_file: z.string().min(1).optional(),
    data_dir: z.string().min(1).optional(),
    network: z.enum(['main', 'test', 'testnet4', 'signet', 'regtest']).optional(),
    zmq: z
      .union([
        z.literal('auto'),
        z.literal(false),
        z.strictObject({
          sequence: zmqAddress.optional(),
          hashblock: zmqAddress.optional(),
          hashtx: zmqAddress.optional(),
        }),
      ])
      .default('auto'),
    rest: z.boolean().default(true),
    long_poll: z.boolean().default(true),
    max_calls_in_flight: z.number().int().min(1).max(MAX_CALLS_IN_FLIGHT).default(DEFAULT_CALLS_IN_FLIGHT),
    poll_ms: z.number().int().min(100).max(600_000).optional(),
  })
  .refine((table) => (table.user === undefined) === (table.password === undefined), {
    message: 'user and password belong together',
  })
  .transform(
    (table): BitcoindOptions => ({
      url: table.url,
      user: table.user,
      password: table.password,
      cookieFile: table.cookie_file,
      dataDir: table.data_dir,
      network: table.network,
      zmq: table.zmq,
      rest: table.rest,
      longPoll: table.long_poll,
      maxCallsInFlight: table.max_calls_in_flight,
      intervals: table.poll_ms === undefined ? undefined : { chainMs: table.poll_ms },
    }),
  );

/** Endpoint and credentials that the options amount to. @throws BAD_CONFIG */
export function resolveBitcoind(options: BitcoindOptions): { url: string; credentials: Credentials } {
  const place = placeOf(options.network);
  const url = options.url ?? `http://127.0.0.1:${place.rpcPort}`;
  if (options.user !== undefined) {
    if (options.password === undefined) throw new HostError('BAD_CONFIG', '[node] user needs a password');
    return { url, credentials: { kind: 'password', user: options.user, password: options.password } };
  }
  const path = options.cookieFile ?? cookiePath(options.dataDir ?? defaultDataDir(), place);
  return { url, credentials: { kind: 'cookie', path } };
}
