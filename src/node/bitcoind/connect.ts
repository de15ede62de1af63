import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { chainSummary } from '../jsonrpc/answers.js';
import { networkName } from '../jsonrpc/chain-calls.js';
import type { ConnectReport } from '../jsonrpc/connect-report.js';
import type { Credentials } from '../jsonrpc/credentials.js';
import { type NodeSetting, parseNodeConfig, readNodeConfig } from '../jsonrpc/node-config-file.js';
import { createRpcClient, type RpcClient } from '../jsonrpc/rpc-client.js';
import type { NetworkName } from '../node-api.js';
import { hostLinesOf, missingLines } from './connect-lines.js';
import { BITCOIND_METHODS } from './methods.js';
import { networkSummary } from './network.js';
import { cookiePath, defaultDataDir, NETWORK_PLACES, type NetworkPlace, placeOf } from './places.js';
import { PASSWORD_BYTES, passwordOf } from './rpcauth.js';

/** Where distributions and node boxes keep the data directory when it is not the user's own. */
const USUAL_DATA_DIRS = ['/var/lib/bitcoind', '/var/lib/bitcoin', '/home/bitcoin/.bitcoin', '/data/.bitcoin'];

/** Longest wait for the node's answers. */
const PROBE_TIMEOUT_MS = 10_000;

/** Not probed: they act, or wait. A list that allows all others was made for the host. */
const UNPROBED: readonly string[] = ['sendrawtransaction', 'setban', 'submitblock', 'submitpackage', 'waitfornewblock'];

/** No call of the adapter has this many. */
const TOO_MANY_ARGUMENTS = Array.from({ length: 20 }, () => null);

/** User that the printed lines give to the host. */
export const HOST_USER = 'modhost';

/** What the operator says of the node; all of it may be left out. */
export interface ConnectBitcoindOptions {
  dataDir?: string | undefined;
  network?: NetworkName | undefined;
  url?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  cookieFile?: string | undefined;
}

/** What a probe learned. */
export interface ProbedBitcoind {
  network: NetworkName;
  version: string;
  versionNumber: number;
  pruned: boolean;
  rest: boolean;
  /** ZMQ publishers, type and address; undefined when the call is not allowed. */
  zmq: readonly { type: string; address: string }[] | undefined;
  indexes: readonly string[];
  /** Methods of the adapter that the user may not call. */
  refused: readonly string[];
}

/**
 * Finds a Bitcoin Core node, asks it what it offers, and gives the exact lines that its bitcoin.conf lacks for the
 * host. Changes nothing, anywhere. A node that cannot be found gives a report that says so.
 *
 * @param randomBytes makes password and salt
 * @throws BAD_CONFIG for a URL that is none
 */
export async function connectBitcoind(
  options: ConnectBitcoindOptions,
  randomBytes: (count: number) => Uint8Array,
  signal: AbortSignal,
): Promise<ConnectReport> {
  const dataDir = options.dataDir ?? (await firstDirectory([defaultDataDir(), ...USUAL_DATA_DIRS]));
  const configFile = dataDir === undefined ? undefined : join(dataDir, 'bitcoin.conf');
  const text = configFile === undefined ? undefined : await readNodeConfig(configFile);
  const settings = parseNodeConfig(text ?? '');
  const place = placeOf(options.network ?? (await guessNetwork(settings, dataDir)));
  const effective = settings.filter(({ section }) => section === '' || section === place.section);
  const url = options.url ?? `http://127.0.0.1:${lastOf(effective, 'rpcport') ?? place.rpcPort}`;

  const { user = HOST_USER, password = passwordOf(randomBytes(PASSWORD_BYTES)) } = options;
  const own: Credentials | undefined = options.user === undefined ? undefined : { kind: 'password', user, password };
  const others = credentialsFor(options, effective, dataDir, place);
  const probe = await probeWithAny(url, own, own === undefined ? others : [own, ...others], signal);
  const report = {
    kind: 'bitcoind' as const,
    network: probe.node?.network ?? place.network,
    dataDir,
    configFile,
    url,
    reachable: probe.node !== undefined,
    version: probe.node?.version ?? '',
    detail: probe.detail,
  };
  return {
    ...report,
    nodeLines: missingLines({
      settings: effective,
      node: probe.node,
      user,
      password,
      // The host's user is there when it was given and the node took it.
      userExists: own !== undefined && probe.used === own,
      randomBytes,
    }),
    hostLines: hostLinesOf({ url, network: report.network, user, password }),
  };
}

async function firstDirectory(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    if (await exists(path)) return path;
  }
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

/** The network of the file's `chain=`, `regtest=1` and the like; else one that has a cookie now; else mainnet. */
async function guessNetwork(settings: readonly NodeSetting[], dataDir: string | undefined): Promise<NetworkName> {
  const top = settings.filter(({ section }) => section === '');
  const chain = lastOf(top, 'chain');
  const flags: Record<string, NetworkName> = {
    testnet: 'test',
    testnet4: 'testnet4',
    signet: 'signet',
    regtest: 'regtest',
  };
  if (chain !== undefined) return NETWORK_PLACES.find((place) => place.section === chain)?.network ?? 'main';
  for (const [key, network] of Object.entries(flags)) if (lastOf(top, key) === '1') return network;
  for (const place of NETWORK_PLACES) {
    if (dataDir !== undefined && (await exists(cookiePath(dataDir, place)))) return place.network;
  }
  return 'main';
}

function credentialsFor(
  options: ConnectBitcoindOptions,
  settings: readonly NodeSetting[],
  dataDir: string | undefined,
  place: NetworkPlace,
): Credentials[] {
  const ways: Credentials[] = [];
  const cookie = options.cookieFile ?? lastOf(settings, 'rpccookiefile');
  if (cookie !== undefined) ways.push({ kind: 'cookie', path: cookie });
  else if (dataDir !== undefined) ways.push({ kind: 'cookie', path: cookiePath(dataDir, place) });
  const user = lastOf(settings, 'rpcuser');
  const password = lastOf(settings, 'rpcpassword');
  if (user !== undefined && password !== undefined) ways.push({ kind: 'password', user, password });
  return ways;
}

/** Last value of a key: a later line wins. */
export function lastOf(settings: readonly NodeSetting[], key: string): string | undefined {
  return settings.findLast((setting) => setting.key === key)?.value;
}

async function probeWithAny(
  url: string,
  own: Credentials | undefined,
  ways: readonly Credentials[],
  signal: AbortSignal,
): Promise<{ node: ProbedBitcoind | undefined; used: Credentials | undefined; detail: string }> {
  let detail = 'no cookie file and no user was found to ask the node with';
  for (const credentials of ways) {
    const rpc = createRpcClient({ url, credentials, batching: true, maxSockets: 1 }, () => 0);
    try {
      const node = await probe(
        rpc,
        credentials === own,
        AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]),
      );
      return { node, used: credentials, detail: `${node.version} answers on ${node.network}` };
    } catch (error) {
      const failure = HostError.from(error);
      if (failure.reason === 'BAD_CONFIG') throw failure;
      detail = failure.message;
    } finally {
      rpc.close();
    }
  }
  return { node: undefined, used: undefined, detail };
}

async function probe(rpc: RpcClient, ownUser: boolean, signal: AbortSignal): Promise<ProbedBitcoind> {
  const summary = await rpc.call('getblockchaininfo', [], chainSummary, { signal });
  const about = await rpc.call('getnetworkinfo', [], networkSummary, { signal });
  const zmq = await optional(
    rpc.call('getzmqnotifications', [], z.array(z.object({ type: z.string(), address: z.string() })), { signal }),
  );
  const indexes = await optional(rpc.call('getindexinfo', [], z.record(z.string(), z.unknown()), { signal }));
  const rest = await rpc.get('/rest/chaininfo.json', signal);
  return {
    network: networkName(summary.chain),
    version: about.subversion,
    versionNumber: about.version,
    pruned: summary.pruned ?? false,
    rest: rest.status === 200,
    zmq,
    indexes: Object.keys(indexes ?? {}),
    refused: ownUser ? await refusedMethods(rpc, signal) : [],
  };
}

/**
 * Finds what a whitelist keeps from the user: the node refuses there before it looks at a call. Each method gets more
 * arguments than it has, so that what is allowed fails at the count of its arguments and costs nothing.
 */
async function refusedMethods(rpc: RpcClient, signal: AbortSignal): Promise<string[]> {
  const refused: string[] = [];
  for (const method of BITCOIND_METHODS) {
    if (UNPROBED.includes(method)) continue;
    try {
      await rpc.batch([{ method, params: TOO_MANY_ARGUMENTS }], { signal });
    } catch (error) {
      const failure = HostError.from(error);
      if (failure.reason !== 'NODE_AUTH') throw failure;
      refused.push(method);
    }
  }
  return refused;
}

async function optional<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    const { reason } = HostError.from(error);
    if (reason === 'NODE_AUTH' || reason === 'NODE_LACKS_FEATURE') return undefined;
    throw error;
  }
}
