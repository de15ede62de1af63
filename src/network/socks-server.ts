import type { Socket } from 'node:net';
import { createDeadline } from './deadline.js';
import { readExactly } from './exact-read.js';
import type { Endpoint } from './grants.js';
import {
  ADDRESS_TYPE,
  addressLength,
  COMMAND,
  decodeEndpoint,
  encodeEndpoint,
  METHOD,
  REPLY,
  SOCKS_VERSION,
} from './socks-wire.js';

/** What a client asks for after a good handshake; nothing of what follows the request has been read. */
export type SocksRequest =
  | { readonly command: 'connect'; readonly target: Endpoint }
  | { readonly command: 'udp-associate' };

/** Nowhere: what a reply names where the real address is none of the module's business. */
const NOWHERE: Endpoint = { kind: 'address', host: '0.0.0.0', port: 0 };
/** How long a client that was refused may take to close, milliseconds. */
const LINGER_MS = 1_000;
/** SOCKS4's "request rejected", for a client that speaks nothing newer. */
const SOCKS4_REJECTION = Buffer.from([0, 0x5b, 0, 0, 0, 0, 0, 0]);

/**
 * Takes one client through the SOCKS5 handshake, without authentication: the listener is inside the module's namespace, so
 * whoever connects is the module. The bytes are hostile: nothing is read ahead of what the last byte announced, and every
 * fault has one answer, after which the connection ends.
 *
 * @param allowUdp whether UDP ASSOCIATE is served
 * @returns        undefined when the client was refused or went away; the fault is answered by then
 * @see            RFC 1928, RFC 1929
 */
export async function readSocksRequest(
  socket: Socket,
  allowUdp: boolean,
  timeoutMs: number,
  parent: AbortSignal,
): Promise<SocksRequest | undefined> {
  const deadline = createDeadline(parent, timeoutMs);
  const read = (length: number): Promise<Buffer | undefined> => readExactly(socket, length, deadline.signal);
  try {
    const [version, count = 0] = (await read(2)) ?? [];
    if (version !== SOCKS_VERSION) {
      refuse(socket, version === 4 ? SOCKS4_REJECTION : Buffer.from([SOCKS_VERSION, METHOD.notAcceptable]));
      return undefined;
    }
    const methods = count === 0 ? Buffer.alloc(0) : await read(count);
    if (methods?.includes(METHOD.none) !== true) {
      refuse(socket, Buffer.from([SOCKS_VERSION, METHOD.notAcceptable]));
      return undefined;
    }
    socket.write(Buffer.from([SOCKS_VERSION, METHOD.none]));
    const request = await readCommand(read, allowUdp);
    if (typeof request !== 'number') return request;
    refuse(socket, replyBytes(request));
    return undefined;
  } finally {
    deadline.clear();
  }
}

async function readCommand(
  read: (length: number) => Promise<Buffer | undefined>,
  allowUdp: boolean,
): Promise<SocksRequest | number> {
  const head = await read(4);
  const [version, command, reserved, type = 0] = head ?? [];
  if (version !== SOCKS_VERSION || reserved !== 0) return REPLY.generalFailure;
  const length = type === ADDRESS_TYPE.name ? ((await read(1))?.[0] ?? 0) : 0;
  const size = addressLength(type, length);
  if (size === undefined) return REPLY.addressTypeNotSupported;
  if (size === 0) return REPLY.generalFailure;
  const rest = await read(size + 2);
  if (rest === undefined) return REPLY.generalFailure;
  if (command === COMMAND.udpAssociate && allowUdp) return { command: 'udp-associate' };
  if (command !== COMMAND.connect) return REPLY.commandNotSupported;
  const port = rest.readUInt16BE(size);
  const target = decodeEndpoint(type, rest.subarray(0, size), port);
  // what different readers take for different hosts is no host here
  if (target === undefined || port === 0) return REPLY.notAllowed;
  return { command: 'connect', target };
}

/** Tells the client that its request is granted. */
export function acceptSocks(socket: Socket, bound: Endpoint = NOWHERE): void {
  socket.write(replyBytes(REPLY.succeeded, bound));
}

/** Tells the client why its request failed, by an outcome's word, and ends the connection. */
export function rejectSocks(socket: Socket, outcome: string): void {
  refuse(socket, replyBytes(REPLY_BY_OUTCOME[outcome] ?? REPLY.generalFailure));
}

const REPLY_BY_OUTCOME: Readonly<Record<string, number>> = {
  refused: REPLY.notAllowed,
  UNRESOLVED: REPLY.hostUnreachable,
  EHOSTUNREACH: REPLY.hostUnreachable,
  ENETUNREACH: REPLY.networkUnreachable,
  ECONNREFUSED: REPLY.connectionRefused,
  ETIMEDOUT: REPLY.expired,
};

function replyBytes(reply: number, bound: Endpoint = NOWHERE): Buffer {
  return Buffer.concat([Buffer.from([SOCKS_VERSION, reply, 0]), encodeEndpoint(bound)]);
}

/** The last word to a client: what it still sends is read and thrown away, so that the answer is not lost in a reset. */
function refuse(socket: Socket, bytes: Buffer): void {
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.once('end', () => socket.destroySoon());
  socket.end(bytes);
  socket.resume();
}
