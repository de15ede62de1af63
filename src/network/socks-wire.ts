import { addressOfBytes, bytesOfAddress, parseAddress } from './address-policy.js';
import { type Endpoint, parseHost } from './grants.js';

/** Protocol version of RFC 1928. */
export const SOCKS_VERSION = 5;
/** Methods of RFC 1928, section 3; user and password are RFC 1929. */
export const METHOD = { none: 0x00, password: 0x02, notAcceptable: 0xff } as const;
/** Commands of section 4. */
export const COMMAND = { connect: 1, bind: 2, udpAssociate: 3 } as const;
/** Address types of section 5. */
export const ADDRESS_TYPE = { ipv4: 1, name: 3, ipv6: 4 } as const;
/** Replies of section 6. */
export const REPLY = {
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  expired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;

/** Address type, address and port as they stand in requests, replies and datagrams. */
export function encodeEndpoint({ kind, host, port }: Endpoint): Buffer {
  const address = kind === 'address' ? parseAddress(host) : undefined;
  const bytes = address === undefined ? Buffer.from(host, 'latin1') : bytesOfAddress(address);
  const head =
    address === undefined
      ? [ADDRESS_TYPE.name, bytes.length]
      : [address.family === 4 ? ADDRESS_TYPE.ipv4 : ADDRESS_TYPE.ipv6];
  return Buffer.concat([Buffer.from(head), bytes, Buffer.from([port >> 8, port & 0xff])]);
}

/** How many bytes of address follow, before the port's two: a name's length comes first. Undefined = no known type. */
export function addressLength(type: number, length: number): number | undefined {
  if (type === ADDRESS_TYPE.ipv4) return 4;
  if (type === ADDRESS_TYPE.ipv6) return 16;
  return type === ADDRESS_TYPE.name ? length : undefined;
}

/** The endpoint of an address and a port; undefined for a name that is none, or means different things to different readers. */
export function decodeEndpoint(type: number, address: Uint8Array, port: number): Endpoint | undefined {
  if (type !== ADDRESS_TYPE.name) {
    const parsed = addressOfBytes(address);
    return parsed && { kind: 'address', host: parsed.text, port };
  }
  const host = parseHost(Buffer.from(address).toString('latin1'));
  return host && { ...host, port };
}

/** A datagram as a client sends it, RFC 1928, section 7. */
export interface SocksDatagram {
  readonly target: Endpoint;
  readonly payload: Buffer;
}

/** Reads one datagram; undefined for a fragment, which a server may drop, and for anything malformed. */
export function decodeDatagram(bytes: Buffer): SocksDatagram | undefined {
  const [zero, reserved, fragment, type = 0, length = 0] = bytes;
  const size = addressLength(type, length);
  if (zero !== 0 || reserved !== 0 || fragment !== 0 || size === undefined) return undefined;
  const start = type === ADDRESS_TYPE.name ? 5 : 4;
  if (bytes.length < start + size + 2) return undefined;
  const port = bytes.readUInt16BE(start + size);
  const target = decodeEndpoint(type, bytes.subarray(start, start + size), port);
  return target && port !== 0 ? { target, payload: bytes.subarray(start + size + 2) } : undefined;
}

/** A datagram as the server returns it. */
export function encodeDatagram(from: Endpoint, payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0]), encodeEndpoint(from), payload]);
}
