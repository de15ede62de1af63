import { HostError } from '../contract/error.js';
import { parseAddress } from './address-policy.js';
import { assertDialable, type Endpoint, endpointText, type NetworkGrants, parseHost } from './grants.js';

/** What the operator lays down for every module's network. */
export interface NetworkPolicy {
  /** SOCKS5 proxy, Tor's for example, that carries everything; undefined = the host dials itself. */
  readonly proxy: { readonly host: string; readonly port: number } | undefined;
  /** `onion`: only onion services are reached. */
  readonly onlynet: 'onion' | undefined;
  /**
   * Address on which granted inbound ports are opened; undefined = all of this machine's, but loopback alone where a proxy
   * is set, because an answer to a stranger would leave beside it.
   */
  readonly inboundAddress: string | undefined;
}

/** What stands behind a listener inside a module's namespace. */
export type ListenerPurpose = { readonly kind: 'target'; readonly target: Endpoint } | { readonly kind: 'socks' };

/** One listener that the host opens in the module's namespace. */
export interface PlannedListener {
  /** `tcp 127.0.1.2:3333` */
  readonly id: string;
  readonly kind: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  readonly purpose: ListenerPurpose;
}

/** A port of this machine on which the module can be reached. */
export interface PlannedInbound {
  readonly port: number;
  /** Address to listen on; undefined = every one, of both families. */
  readonly address: string | undefined;
  readonly tcp: true;
  readonly udp: boolean;
}

/** Everything that is to be opened for one module, and what the module is told of it. */
export interface NetworkPlan {
  readonly grants: NetworkGrants;
  /** Lines for `/etc/hosts` inside. */
  readonly hosts: readonly { readonly address: string; readonly name: string }[];
  readonly listeners: readonly PlannedListener[];
  /** For the module's environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly inbound: readonly PlannedInbound[];
  /** What the operator should know of this plan; it works all the same. */
  readonly warnings: readonly string[];
}

/** The SOCKS server's address inside, and the first port tried for it: RFC 1928's. */
const SOCKS_ADDRESS = '127.0.1.1';
const SOCKS_PORT = 1080;
/** Names get loopback addresses from here on; 127.0.0.0/24 is the module's own. */
const FIRST_NAME_ADDRESS = (127 << 24) + (1 << 8) + 2;
/** 127.0.1.0 to 127.0.16.255: more than a manifest can name. */
const MAX_NAMES = 15 * 256;

/**
 * Plans the network of one module: pure, it opens nothing.
 *
 * @throws HostError BAD_VALUE for a grant that names nothing one could dial; NETWORK_UNAVAILABLE for one that the policy
 *         rules out: an onion service without a proxy, anything else under `onlynet = "onion"`, UDP beside a proxy
 */
export function planNetwork(grants: NetworkGrants, policy: NetworkPolicy): NetworkPlan {
  assertPolicy(policy);
  for (const grant of grants.outbound) assertReachable(grant, policy);
  if (grants.udp && policy.proxy !== undefined) {
    throw unavailable('udp', 'cannot be had: it would leave beside the proxy; withdraw it or the proxy');
  }
  const names = [...new Set(grants.outbound.filter(({ kind }) => kind !== 'address').map(({ host }) => host))];
  if (names.length > MAX_NAMES) throw new HostError('BAD_VALUE', `at most ${MAX_NAMES} names can be granted`);
  const addresses = new Map(names.map((name, index) => [name, addressOfName(index)]));
  const kinds = grants.udp ? (['tcp', 'udp'] as const) : (['tcp'] as const);
  const listener = (kind: 'tcp' | 'udp', address: string, port: number, purpose: ListenerPurpose): PlannedListener => ({
    id: `${kind} ${endpointText({ host: address, port })}`,
    ...{ kind, address, port, purpose },
  });
  const listeners = new Map<string, PlannedListener>();
  for (const { kind: targetKind, host, port } of grants.outbound) {
    for (const kind of kinds) {
      const target: Endpoint = { kind: targetKind, host, port };
      const made = listener(kind, addresses.get(host) ?? host, port, { kind: 'target', target });
      listeners.set(made.id, made);
    }
  }
  const socksPort = freePort(grants.inbound);
  if (grants.outboundAny) {
    for (const kind of kinds) {
      const made = listener(kind, SOCKS_ADDRESS, socksPort, { kind: 'socks' });
      listeners.set(made.id, made);
    }
  }
  return {
    grants,
    hosts: [...addresses].map(([name, address]) => ({ address, name })),
    listeners: [...listeners.values()],
    env: grants.outboundAny ? socksEnvironment(`${SOCKS_ADDRESS}:${socksPort}`) : {},
    inbound: [...new Set(grants.inbound)].map((port) => ({
      port,
      address: policy.inboundAddress ?? (policy.proxy === undefined ? undefined : '127.0.0.1'),
      tcp: true,
      udp: grants.udp,
    })),
    warnings: sharedPorts(grants).map(
      (port) =>
        `port ${port} is granted inbound and outbound: the module must listen on 127.0.0.1 or ::1, where connections from ` +
        'outside reach it, because on all addresses the port is taken by the outbound grant',
    ),
  };
}

/** Reads the operator's proxy, `host:port`. @throws HostError BAD_CONFIG */
export function parseProxy(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([1-9][0-9]{0,4})$/.exec(text);
  const host = match === null ? undefined : parseHost(match[1] ?? match[2] ?? '');
  const port = Number(match?.[3]);
  if (host === undefined || host.kind === 'onion' || port > 65_535) {
    throw new HostError(
      'BAD_CONFIG',
      `the network proxy must be 'host:port' of a SOCKS5 server, like '127.0.0.1:9050'`,
    );
  }
  return { host: host.host, port };
}

function assertPolicy({ proxy, onlynet, inboundAddress }: NetworkPolicy): void {
  const inbound = inboundAddress === undefined ? undefined : parseAddress(inboundAddress);
  if (inboundAddress !== undefined && inbound === undefined) {
    throw new HostError('BAD_VALUE', `the inbound address '${inboundAddress}' is no IP address`);
  }
  if (onlynet !== 'onion') return;
  if (proxy === undefined) throw unavailable('onlynet = "onion"', 'needs a proxy: nothing else reaches onion services');
  if (inbound !== undefined && inbound.text !== '::1' && !inbound.text.startsWith('127.')) {
    throw unavailable('onlynet = "onion"', 'allows inbound ports on loopback alone, where the onion service delivers');
  }
}

function assertReachable(grant: Endpoint, { proxy, onlynet }: NetworkPolicy): void {
  const text = endpointText(grant);
  assertDialable(grant);
  if (/^127\.0\.([1-9]|1[0-6])\./.test(grant.host)) {
    throw new HostError('BAD_VALUE', `the network grant '${text}' is an address that the sandbox uses for itself`);
  }
  if (grant.kind === 'onion' && proxy === undefined) {
    throw unavailable(text, 'needs a proxy: set [network] proxy to the SOCKS port of Tor');
  }
  if (grant.kind !== 'onion' && onlynet === 'onion') {
    throw unavailable(text, 'is no onion service, and onlynet = "onion" allows nothing else');
  }
}

/** Ports whose listener on an outbound address keeps the module from listening on all addresses (bind(2), EADDRINUSE). */
function sharedPorts({ outbound, inbound }: NetworkGrants): number[] {
  return [...new Set(inbound)].filter((port) => outbound.some((grant) => grant.port === port));
}

function freePort(taken: readonly number[]): number {
  let port = SOCKS_PORT;
  while (taken.includes(port)) port += 1;
  return port;
}

function addressOfName(index: number): string {
  const value = FIRST_NAME_ADDRESS + index;
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

/** The words that clients look for; `socks5h` leaves names to the host. What stays inside goes without a proxy. */
function socksEnvironment(server: string): Record<string, string> {
  const [proxy, none] = [`socks5h://${server}`, 'localhost,127.0.0.1,::1'];
  return { ALL_PROXY: proxy, all_proxy: proxy, NO_PROXY: none, no_proxy: none, MODHOST_SOCKS: server };
}

function unavailable(grant: string, why: string): HostError {
  return new HostError('NETWORK_UNAVAILABLE', `the network grant '${grant}' ${why}`);
}
