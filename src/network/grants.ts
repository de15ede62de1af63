import { createHash } from 'node:crypto';
import { HostError } from '../contract/error.js';
import { addressKind, isNoHost, parseAddress } from './address-policy.js';

/** A host and a port, in the one spelling of this house. */
export interface Endpoint {
  /** `name`: lower case, no closing dot. `address`: IP literal, no brackets. `onion`: version 3 service, with `.onion`. */
  readonly kind: 'name' | 'address' | 'onion';
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** One host and port that a module may reach. */
export interface OutboundGrant extends Endpoint {
  /**
   * True when it may lead to loopback, private and other addresses that are not public: an address that the operator has
   * listed himself, or a name that he has marked.
   */
  readonly allowPrivate: boolean;
}

/** What one module may do on the network, after the operator's word. */
export interface NetworkGrants {
  readonly outbound: readonly OutboundGrant[];
  /** Any public address. */
  readonly outboundAny: boolean;
  /** Ports on which it may be reached. */
  readonly inbound: readonly number[];
  /** UDP as well, wherever TCP is granted. */
  readonly udp: boolean;
}

/** The same four things as the manifest writes them. */
export interface NetworkAsk {
  readonly outbound: readonly string[];
  readonly outboundAny: boolean;
  readonly inbound: readonly number[];
  readonly udp: boolean;
}

/** What the operator allows one module. */
export interface NetworkAllowance extends NetworkAsk {
  /** Those of `outbound` whose name may lead to private addresses: `umbrel.local:8332`. */
  readonly private: readonly string[];
}

/** What came of a manifest's wishes. */
export interface SettledNetwork {
  readonly grants: NetworkGrants;
  /** What the manifest asks for and the operator has not allowed, in the words of `grantWords`. */
  readonly withheld: readonly string[];
  /** What the operator allows and the manifest does not ask for; it has no effect. */
  readonly unasked: readonly string[];
}

/** Longest name of a host, RFC 1035. */
const MAX_NAME_CHARS = 253;
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Names that mean this machine wherever they are asked for, RFC 6761. */
const LOCALHOST = /^(.+\.)?localhost(\.localdomain)?$/;

/**
 * Reads a host as a module, a manifest or an operator writes it. Undefined when it is none, or one that different
 * programs read differently: the numeric forms of IPv4 (`2130706433`, `0x7f.1`, `127.1`), zones, a misspelt onion.
 */
export function parseHost(text: string): Pick<Endpoint, 'kind' | 'host'> | undefined {
  const address = parseAddress(text);
  if (address !== undefined) return { kind: 'address', host: address.text };
  const host = text.toLowerCase().replace(/\.$/, '');
  const labels = host.split('.');
  const last = labels.at(-1) ?? '';
  if (host.length > MAX_NAME_CHARS || !labels.every((label) => LABEL.test(label))) return undefined;
  // What ends in a number is an address to every URL parser, and to inet_aton(3).
  if (/^([0-9]+|0x[0-9a-f]*)$/.test(last)) return undefined;
  if (last !== 'onion') return { kind: 'name', host };
  return isOnionService(labels.at(-2) ?? '') ? { kind: 'onion', host } : undefined;
}

/** True for `localhost` and the names below it: they mean this machine wherever they are asked for. */
export function isLocalhost(host: string): boolean {
  return LOCALHOST.test(host);
}

/**
 * Reads `host:port` or `[v6]:port`.
 *
 * @throws HostError BAD_VALUE, naming the text
 */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):([1-9][0-9]{0,4})$/i.exec(text);
  const [, bracketed, plain = '', digits] = match ?? [];
  const port = Number(digits);
  const host = match === null || port > 65_535 ? undefined : parseHost(bracketed ?? plain);
  if (host === undefined || (bracketed !== undefined && host.kind !== 'address')) {
    throw bad(text, 'is no host:port; an IPv6 address stands in brackets, an IPv4 address is four decimal numbers');
  }
  return { ...host, port };
}

/** `host:port`, an IPv6 address in brackets. */
export function endpointText({ host, port }: Pick<Endpoint, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What a grant may be, in words like `tcp to pool.example:3333`; for status and messages. */
export function grantWords(grants: NetworkGrants): string[] {
  const kinds = grants.udp ? ['tcp', 'udp'] : ['tcp'];
  return kinds.flatMap((kind) => [
    ...grants.outbound.map((grant) => `${kind} to ${endpointText(grant)}`),
    ...(grants.outboundAny ? [`${kind} to any public address`] : []),
    ...grants.inbound.map((port) => `${kind} on port ${port}`),
  ]);
}

/** True when nothing is granted: the module needs no network at all. */
export function isEmptyGrant({ outbound, outboundAny, inbound }: NetworkGrants): boolean {
  return outbound.length === 0 && !outboundAny && inbound.length === 0;
}

/**
 * Weighs what a manifest asks against what the operator allows; a thing is granted when both name it.
 *
 * - `outbound_any` on one side covers every public `host:port` of the other, so an operator can narrow "any" to a list.
 * - An address that is not public needs the operator's own line: `10.0.0.5:8332`. A name that leads to such addresses
 *   needs his mark: who answers for a name may change his answer at any time (DNS rebinding).
 *
 * @throws HostError BAD_VALUE for a text that is no host:port
 */
export function settleNetwork(ask: NetworkAsk, allow: NetworkAllowance): SettledNetwork {
  const asked = byText(ask.outbound);
  const allowed = byText(allow.outbound);
  const marked = byText(allow.private);
  for (const text of marked.keys()) {
    if (!allowed.has(text)) throw bad(text, 'is marked as private but not among the outbound grants');
  }
  const outbound: OutboundGrant[] = [];
  const withheld: string[] = [];
  const unasked: string[] = [];
  for (const [text, endpoint] of new Map([...asked, ...allowed])) {
    if (!asked.has(text) && !ask.outboundAny) unasked.push(`outbound ${text}`);
    else if (!allowed.has(text) && !(allow.outboundAny && isPublic(endpoint))) withheld.push(`outbound ${text}`);
    else
      outbound.push({
        ...endpoint,
        allowPrivate: allowed.has(text) && (endpoint.kind === 'address' || marked.has(text)),
      });
  }
  const outboundAny = ask.outboundAny && allow.outboundAny;
  if (ask.outboundAny && !outboundAny) withheld.push('outbound_any');
  if (allow.outboundAny && !outboundAny && asked.size === 0) unasked.push('outbound_any');
  const inbound = [...new Set(ask.inbound)].filter((port) => allow.inbound.includes(port));
  withheld.push(
    ...[...new Set(ask.inbound)].filter((port) => !inbound.includes(port)).map((port) => `inbound ${port}`),
  );
  unasked.push(
    ...[...new Set(allow.inbound)].filter((port) => !inbound.includes(port)).map((port) => `inbound ${port}`),
  );
  if (ask.udp !== allow.udp) (ask.udp ? withheld : unasked).push('udp');
  return { grants: { outbound, outboundAny, inbound, udp: ask.udp && allow.udp }, withheld, unasked };
}

/**
 * Refuses a grant that names no host that one could dial.
 *
 * @throws HostError BAD_VALUE, naming the grant
 */
export function assertDialable(endpoint: Endpoint): void {
  const address = parseAddress(endpoint.host);
  if (address !== undefined && isNoHost(address)) throw bad(endpointText(endpoint), 'is the address of no single host');
  if (isLocalhost(endpoint.host)) {
    throw bad(endpointText(endpoint), `means the module itself; for the host's own, list 127.0.0.1:${endpoint.port}`);
  }
}

/** "Any public address" covers names, which are judged by where they lead, and literals that are public. */
function isPublic({ host }: Endpoint): boolean {
  const address = parseAddress(host);
  return address === undefined || addressKind(address) === 'public';
}

function byText(texts: readonly string[]): Map<string, Endpoint> {
  return new Map(
    texts.map((text) => {
      const endpoint = parseEndpoint(text);
      return [endpointText(endpoint), endpoint];
    }),
  );
}

/** Version 3 of Tor's rend-spec, section 6: base32 of key (32 bytes), checksum (2) and version (1). */
function isOnionService(label: string): boolean {
  if (!/^[a-z2-7]{56}$/.test(label)) return false;
  let bits = 0n;
  for (const char of label) bits = (bits << 5n) | BigInt('abcdefghijklmnopqrstuvwxyz234567'.indexOf(char));
  const bytes = Buffer.from(bits.toString(16).padStart(70, '0'), 'hex');
  const [key, checksum, version] = [bytes.subarray(0, 32), bytes.subarray(32, 34), bytes.subarray(34)];
  const hash = createHash('sha3-256').update('.onion checksum').update(key).update(version).digest();
  return version[0] === 3 && hash.subarray(0, 2).equals(checksum);
}

function bad(text: string, rule: string): HostError {
  return new HostError('BAD_VALUE', `the network grant '${text}' ${rule}`);
}
