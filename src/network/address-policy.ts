import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

/**
 * What an address is for. `public` may be reached by anybody; every other kind is this machine, somebody's own network, or
 * no single host at all.
 */
export type AddressKind =
  | 'public'
  | 'unspecified'
  | 'loopback'
  | 'private'
  | 'shared'
  | 'link-local'
  | 'multicast'
  | 'documentation'
  | 'reserved'
  | 'own';

/** One address, parsed: what its bytes say, whatever way it was written. */
export interface Address {
  readonly family: 4 | 6;
  /** Big-endian, 32 or 128 bits. */
  readonly value: bigint;
  /** The one spelling that this house uses; IPv4-mapped IPv6 addresses are IPv4. */
  readonly text: string;
}

/** A range and its kind. */
interface Range {
  readonly family: 4 | 6;
  readonly value: bigint;
  readonly bits: number;
  readonly kind: AddressKind;
}

/**
 * IANA IPv4 Special-Purpose Address Registry, with the multicast space of RFC 5771. The most specific range counts; what
 * is in none is public.
 */
const IPV4_TABLE = `
0.0.0.0/8 unspecified
10.0.0.0/8 private
100.64.0.0/10 shared
127.0.0.0/8 loopback
169.254.0.0/16 link-local
172.16.0.0/12 private
192.0.0.0/24 reserved
192.0.0.9/32 public
192.0.0.10/32 public
192.0.2.0/24 documentation
192.88.99.0/24 reserved
192.168.0.0/16 private
198.18.0.0/15 reserved
198.51.100.0/24 documentation
203.0.113.0/24 documentation
224.0.0.0/4 multicast
240.0.0.0/4 reserved
`;

/**
 * IANA IPv6 Special-Purpose Address Registry and Address Space: only 2000::/3 is given out for the public, and of it less
 * than everything. Addresses that carry an IPv4 address (64:ff9b::/96, 2002::/16) are judged by that one, see below.
 */
const IPV6_TABLE = `
::/0 reserved
::/128 unspecified
::1/128 loopback
100::/64 reserved
2000::/3 public
2001::/23 reserved
2001:1::1/128 public
2001:1::2/128 public
2001:1::3/128 public
2001:3::/32 public
2001:4:112::/48 public
2001:db8::/32 documentation
3fff::/20 documentation
fc00::/7 private
fe80::/10 link-local
fec0::/10 private
ff00::/8 multicast
`;

const RANGES: readonly Range[] = `${IPV4_TABLE}${IPV6_TABLE}`
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => {
    const [cidr = '', kind = ''] = line.split(' ');
    return { ...rangeOf(cidr), kind: kind as AddressKind };
  })
  .sort((a, b) => b.bits - a.bits);

/** Where an IPv4 address stands in an IPv6 one: the prefix, its length, and how far the 32 bits are from the end. */
const CARRIERS: readonly { readonly value: bigint; readonly bits: number; readonly shift: bigint }[] = [
  // NAT64, RFC 6052: a translator of this network sends to the IPv4 address within
  { ...rangeOf('64:ff9b::/96'), shift: 0n },
  // 6to4, RFC 3056: a router, or this machine's own tunnel, sends to the IPv4 address within
  { ...rangeOf('2002::/16'), shift: 80n },
];

const MAPPED = rangeOf('::ffff:0:0/96');

/**
 * Parses an IP literal: dotted quad with four plain decimal numbers, or IPv6 without a zone. Undefined for all else, the
 * numeric forms that old resolvers take for addresses (`2130706433`, `0x7f.1`, `0177.0.0.1`) included.
 */
export function parseAddress(text: string): Address | undefined {
  const family = isIP(text);
  if (family === 4) return fromValue(4, ipv4Value(text));
  if (family !== 6 || text.includes('%')) return undefined;
  return fromValue(6, ipv6Value(text));
}

/** The address of four or sixteen bytes; undefined for any other number. */
export function addressOfBytes(bytes: Uint8Array): Address | undefined {
  if (bytes.length !== 4 && bytes.length !== 16) return undefined;
  const value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  return fromValue(bytes.length === 4 ? 4 : 6, value);
}

/** The four or sixteen bytes of an address. */
export function bytesOfAddress({ family, value }: Address): Buffer {
  return Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex');
}

/** Says what an address is for, by the registries alone: the same on every machine. */
export function addressKind(address: Address): AddressKind {
  for (const { value, bits, shift } of address.family === 6 ? CARRIERS : []) {
    if (!within(address, { family: 6, value, bits })) continue;
    return addressKind(fromValue(4, (address.value >> shift) & 0xffff_ffffn));
  }
  return RANGES.find((range) => within(address, range))?.kind ?? 'public';
}

/** This machine's own networks. */
export interface LocalNetworks {
  /** True for an address of this machine, and for a neighbour on an IPv6 link. */
  has(address: Address): boolean;
}

/** Shortest IPv6 prefix that is taken for somebody's own: providers give sites a /48. Tunnels may claim far more. */
const MIN_LINK_BITS = 48;

/** Addresses as the system lists them: `10.0.0.5/24`. */
export type ListNetworks = () => readonly string[];

/**
 * Reads this machine's own public addresses, which reach the same services as loopback does, and its IPv6 links: there
 * every device of a home has a public address, and only the router keeps strangers out. Public IPv4 neighbours are not
 * counted in: who shares such a link is as public to anybody.
 */
export function createLocalNetworks(list: ListNetworks = systemNetworks): LocalNetworks {
  return {
    has(address) {
      return list().some((cidr) => {
        const range = rangeOf(cidr);
        const isLink = range.family === 6 && range.bits >= MIN_LINK_BITS;
        return within(address, isLink ? range : { ...range, bits: range.family === 4 ? 32 : 128 });
      });
    },
  };
}

/** Judges an address on this machine: `own` where the registries say public but it is not for the module. */
export function kindHere(address: Address, local: LocalNetworks): AddressKind {
  const kind = addressKind(address);
  return kind === 'public' && local.has(address) ? 'own' : kind;
}

/** True for what no grant can name, because no one host is there: unspecified, multicast, broadcast. */
export function isNoHost(address: Address): boolean {
  const kind = addressKind(address);
  return kind === 'unspecified' || kind === 'multicast' || address.text === '255.255.255.255';
}

function systemNetworks(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).flatMap(({ cidr }) => cidr ?? []));
}

function rangeOf(cidr: string): { family: 4 | 6; value: bigint; bits: number } {
  const [text = '', length = ''] = cidr.split('/');
  const plain = text.replace(/%.*$/, '');
  const family = isIP(plain) === 4 ? 4 : 6;
  return { family, value: family === 4 ? ipv4Value(plain) : ipv6Value(plain), bits: Number(length) };
}

function within(address: Pick<Address, 'family' | 'value'>, range: Pick<Range, 'family' | 'value' | 'bits'>): boolean {
  if (address.family !== range.family) return false;
  const drop = BigInt((range.family === 4 ? 32 : 128) - range.bits);
  return address.value >> drop === range.value >> drop;
}

function fromValue(family: 4 | 6, value: bigint): Address {
  if (family === 6 && within({ family, value }, MAPPED)) return fromValue(4, value & 0xffff_ffffn);
  return { family, value, text: family === 4 ? ipv4Text(value) : ipv6Text(value) };
}

function ipv4Value(text: string): bigint {
  return text.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function ipv4Text(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
}

function ipv6Value(text: string): bigint {
  // a dotted quad may stand for the last two groups
  const quad = /[0-9.]+\.[0-9.]+$/.exec(text)?.[0];
  const tail = quad === undefined ? '' : ipv4Value(quad).toString(16).padStart(8, '0');
  const plain = quad === undefined ? text : `${text.slice(0, -quad.length)}${tail.slice(0, 4)}:${tail.slice(4)}`;
  const [left = '', right] = plain.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [before, after] = [groups(left), groups(right ?? '')];
  const zeros = right === undefined ? 0 : 8 - before.length - after.length;
  return [...before, ...Array<string>(zeros).fill('0'), ...after].reduce(
    (value, group) => (value << 16n) | BigInt(`0x${group}`),
    0n,
  );
}

/** RFC 5952, by the platform's own URL parser. */
function ipv6Text(value: bigint): string {
  const hex = value.toString(16).padStart(32, '0');
  return new URL(`tcp://[${(hex.match(/.{4}/g) ?? []).join(':')}]`).hostname.slice(1, -1);
}
