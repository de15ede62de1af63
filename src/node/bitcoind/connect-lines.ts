import { type ConnectLine, tomlString } from '../jsonrpc/connect-report.js';
import type { NodeSetting } from '../jsonrpc/node-config-file.js';
import type { NetworkName } from '../node-api.js';
import type { ProbedBitcoind } from './connect.js';
import { BITCOIND_METHODS } from './methods.js';
import { RPCAUTH_SALT_BYTES, rpcauthOf } from './rpcauth.js';

/** Port of the publisher that the printed line opens; the one that most guides use. */
const ZMQ_ADDRESS = 'tcp://127.0.0.1:28332';

/** What the lines are made from. */
export interface MissingLinesInput {
  /** Settings in effect for the network. */
  settings: readonly NodeSetting[];
  /** What the node said, or undefined when it did not answer. */
  node: ProbedBitcoind | undefined;
  user: string;
  password: string;
  /** True when the node has accepted this user already. */
  userExists: boolean;
  randomBytes: (count: number) => Uint8Array;
}

/** The lines that bitcoin.conf lacks, in the order in which they should stand there. */
export function missingLines(input: MissingLinesInput): ConnectLine[] {
  return [...serverLines(input), ...userLines(input), ...whitelistLines(input), ...offerLines(input)];
}

/** The host's own `[node]` table. */
export function hostLinesOf(node: { url: string; network: NetworkName; user: string; password: string }): string[] {
  return [
    '[node]',
    'kind = "bitcoind"',
    ...(node.network === 'unknown' ? [] : [`network = ${tomlString(node.network)}`]),
    `url = ${tomlString(node.url)}`,
    `user = ${tomlString(node.user)}`,
    `password = ${tomlString(node.password)}`,
  ];
}

function has(settings: readonly NodeSetting[], key: string, value?: string): boolean {
  return settings.some((setting) => setting.key === key && (value === undefined || setting.value === value));
}

function serverLines({ settings, node }: MissingLinesInput): ConnectLine[] {
  if (node !== undefined || has(settings, 'server', '1')) return [];
  return [{ line: 'server=1', why: 'opens the RPC port', required: true }];
}

function userLines({ user, password, userExists, randomBytes }: MissingLinesInput): ConnectLine[] {
  if (userExists) return [];
  const line = `rpcauth=${rpcauthOf(user, password, randomBytes(RPCAUTH_SALT_BYTES))}`;
  return [{ line, why: 'gives the host an RPC user of its own', required: true }];
}

function whitelistLines({ settings, node, user, userExists }: MissingLinesInput): ConnectLine[] {
  const own = settings.filter(({ key, value }) => key === 'rpcwhitelist' && value.startsWith(`${user}:`));
  const allowed = new Set(own.flatMap(({ value }) => value.slice(user.length + 1).split(/[\s,]+/)));
  const missing = BITCOIND_METHODS.filter((method) => !allowed.has(method));
  const complete = own.length > 0 ? missing.length === 0 : userExists && node?.refused.length === 0;
  const lines: ConnectLine[] = [];
  if (!complete) {
    lines.push({
      line: `rpcwhitelist=${user}:${BITCOIND_METHODS.join(',')}`,
      why:
        own.length > 0 ? `replaces the user's list, which lacks ${missing.join(', ')}` : 'allows it these calls alone',
      required: true,
    });
  }
  // One whitelist makes Bitcoin Core shut out every user without one, bitcoin-cli included, unless this is said.
  if (!complete && !has(settings, 'rpcwhitelist') && !has(settings, 'rpcwhitelistdefault')) {
    lines.push({
      line: 'rpcwhitelistdefault=0',
      why: 'leaves all other users as they are, bitcoin-cli included',
      required: true,
    });
  }
  return lines;
}

function offerLines({ settings, node }: MissingLinesInput): ConnectLine[] {
  const lines: ConnectLine[] = [];
  const published = (type: string): boolean =>
    node?.zmq?.some((item) => item.type === type) ?? has(settings, `zmq${type}`);
  if (!published('pubsequence')) {
    lines.push({
      line: `zmqpubsequence=${zmqAddress(settings, node)}`,
      why: 'tells blocks and mempool changes at once; without it the node is polled',
      required: false,
    });
  }
  if (!(node?.rest ?? has(settings, 'rest', '1'))) {
    lines.push({ line: 'rest=1', why: 'serves blocks as bytes, at half the cost', required: false });
  }
  const indexed = node === undefined ? has(settings, 'txindex', '1') : node.indexes.includes('txindex');
  const pruned = node?.pruned ?? settings.some(({ key, value }) => key === 'prune' && value !== '0');
  if (!indexed && !pruned) {
    lines.push({
      line: 'txindex=1',
      why: 'finds confirmed transactions by id alone; costs disk and hours once, leave it out if no module needs it',
      required: false,
    });
  }
  return lines;
}

/** Beside what the node publishes already, so that one port suffices. */
function zmqAddress(settings: readonly NodeSetting[], node: ProbedBitcoind | undefined): string {
  const running = node?.zmq?.[0]?.address;
  const configured = settings.find(({ key }) => /^zmqpub(hashblock|hashtx|rawblock|rawtx)$/.test(key))?.value;
  return running ?? configured ?? ZMQ_ADDRESS;
}
