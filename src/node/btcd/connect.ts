import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { chainSummary } from '../jsonrpc/answers.js';
import { networkName } from '../jsonrpc/chain-calls.js';
import { type ConnectLine, type ConnectReport, tomlString } from '../jsonrpc/connect-report.js';
import { type NodeSetting, parseNodeConfig, readNodeConfig } from '../jsonrpc/node-config-file.js';
import { createRpcClient } from '../jsonrpc/rpc-client.js';
import { RPC } from '../jsonrpc/rpc-failure.js';
import type { NetworkName } from '../node-api.js';
import { btcdHome, btcdUrl } from './options.js';

/** Longest wait for the node's answers. */
const PROBE_TIMEOUT_MS = 10_000;

/** Bytes of randomness in a password made here. */
const PASSWORD_BYTES = 32;

/** User that the printed lines give to the host. */
const HOST_USER = 'modhost';

const about = z.object({ version: z.number().int() });

/** What the operator says of the node; all of it may be left out. */
export interface ConnectBtcdOptions {
  /** Directory of btcd.conf and rpc.cert. */
  home?: string | undefined;
  network?: NetworkName | undefined;
  url?: string | undefined;
  user?: string | undefined;
  password?: string | undefined;
  tlsCa?: string | undefined;
}

/**
 * Finds a btcd node, asks it what it offers, and gives the exact lines that its btcd.conf lacks. Changes nothing.
 * btcd knows one full user alone, and its limited one may not call what the host needs; so the host shares the full one.
 *
 * @param randomBytes makes a password where btcd has none yet
 * @throws BAD_CONFIG for a URL that is none
 */
export async function connectBtcd(
  options: ConnectBtcdOptions,
  randomBytes: (count: number) => Uint8Array,
  signal: AbortSignal,
): Promise<ConnectReport> {
  const home = options.home ?? btcdHome();
  const configFile = join(home, 'btcd.conf');
  const text = await readNodeConfig(configFile);
  const settings = parseNodeConfig(text ?? '');
  const network = options.network ?? networkOf(settings);
  const tls = settingOf(settings, 'notls') !== '1';
  const url = options.url ?? btcdUrl({ ...PLAIN_OPTIONS, tls, network });
  const certificate = options.tlsCa ?? settingOf(settings, 'rpccert') ?? join(home, 'rpc.cert');

  const configured = { user: settingOf(settings, 'rpcuser'), password: settingOf(settings, 'rpcpass') };
  const user = options.user ?? configured.user ?? HOST_USER;
  const password =
    options.password ?? configured.password ?? Buffer.from(randomBytes(PASSWORD_BYTES)).toString('base64url');
  const probe = await probeBtcd({ url, user, password, certificate }, signal);

  const nodeLines: ConnectLine[] = [];
  if ('failure' in probe) {
    if (configured.user === undefined && options.user === undefined) {
      nodeLines.push({ line: `rpcuser=${user}`, why: 'opens the RPC port, for this user', required: true });
      nodeLines.push({ line: `rpcpass=${password}`, why: 'its password', required: true });
    }
  }
  const indexed = 'failure' in probe ? settingOf(settings, 'txindex') === '1' : probe.indexed;
  if (!indexed) {
    const why = 'finds confirmed transactions by id alone; leave it out if no module needs it';
    nodeLines.push({ line: 'txindex=1', why, required: false });
  }
  const found = 'failure' in probe ? network : probe.network;
  return {
    kind: 'btcd',
    network: found,
    dataDir: text === undefined && !(await isDirectory(home)) ? undefined : home,
    configFile,
    url,
    reachable: !('failure' in probe),
    version: 'failure' in probe ? '' : probe.version,
    detail: 'failure' in probe ? probe.failure : `btcd answers on ${probe.network}`,
    nodeLines,
    hostLines: [
      '[node]',
      'kind = "btcd"',
      ...(found === 'unknown' ? [] : [`network = ${tomlString(found)}`]),
      `url = ${tomlString(url)}`,
      `user = ${tomlString(user)}`,
      `password = ${tomlString(password)}`,
      ...(url.startsWith('https:') ? [`tls_ca = ${tomlString(certificate)}`] : ['tls = false']),
    ],
  };
}

const PLAIN_OPTIONS = { user: '', password: '', websocket: false, maxCallsInFlight: 1 };

function settingOf(settings: readonly NodeSetting[], key: string): string | undefined {
  return settings.findLast((setting) => setting.key === key)?.value;
}

function networkOf(settings: readonly NodeSetting[]): NetworkName {
  const flags: Record<string, NetworkName> = {
    testnet: 'test',
    testnet4: 'testnet4',
    signet: 'signet',
    regtest: 'regtest',
  };
  for (const [key, network] of Object.entries(flags)) if (settingOf(settings, key) === '1') return network;
  return 'main';
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/** Asks a btcd for what the lines depend on; a failure is a sentence. */
async function probeBtcd(
  at: { url: string; user: string; password: string; certificate: string },
  signal: AbortSignal,
): Promise<{ network: NetworkName; version: string; indexed: boolean } | { failure: string }> {
  const rpc = createRpcClient(
    {
      url: at.url,
      credentials: { kind: 'password', user: at.user, password: at.password },
      batching: true,
      maxSockets: 1,
      readCa: async () => {
        const content = await readNodeConfig(at.certificate);
        return content === undefined ? undefined : Buffer.from(content);
      },
    },
    () => 0,
  );
  try {
    const bounded = { signal: AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]) };
    const summary = await rpc.call('getblockchaininfo', [], chainSummary, bounded);
    const { version } = await rpc.call('getinfo', [], about, bounded);
    const [answer] = await rpc.batch([{ method: 'getrawtransaction', params: ['00'.repeat(32), 1] }], bounded);
    const refusal = answer !== undefined && 'failure' in answer ? answer.failure : undefined;
    const indexed = refusal?.code === RPC.NOT_FOUND && !refusal.message.includes('txindex');
    return { network: networkName(summary.chain), version: String(version), indexed };
  } catch (error) {
    const failure = HostError.from(error);
    if (failure.reason === 'BAD_CONFIG') throw failure;
    return { failure: failure.message };
  } finally {
    rpc.close();
  }
}
