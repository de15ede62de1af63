import { connect, type Socket } from 'node:net';
import { readExactly } from './exact-read.js';
import type { Endpoint } from './grants.js';
import { ADDRESS_TYPE, addressLength, COMMAND, encodeEndpoint, METHOD, SOCKS_VERSION } from './socks-wire.js';

/** A connection through a proxy: the socket, nothing of the target's read yet, or the code of what went wrong. */
export type ProxyAnswer = { readonly socket: Socket } | { readonly code: string };

/** What a proxy's reply means, RFC 1928, section 6; Tor's own replies from 0xf0 on all say that a service is not there. */
const REPLY_CODES: readonly string[] = [
  '',
  'PROXY_FAILURE',
  'PROXY_REFUSAL',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ECONNREFUSED',
  'ETIMEDOUT',
  'PROXY_FAILURE',
  'PROXY_FAILURE',
];

/**
 * Connects through a SOCKS5 proxy. A name goes to the proxy as it is: this machine never asks for it.
 *
 * @param isolation goes along as user name, where the proxy takes one: Tor keeps the circuits of different users apart
 *                  (IsolateSOCKSAuth). No secret.
 * @param signal    ends the attempt
 */
export async function connectThroughProxy(
  proxy: { readonly host: string; readonly port: number },
  target: Endpoint,
  isolation: string,
  signal: AbortSignal,
): Promise<ProxyAnswer> {
  const socket = connect({ host: proxy.host, port: proxy.port, allowHalfOpen: true });
  const opened = await new Promise<boolean>((resolve) => {
    const answer = (isOpen: boolean): void => {
      signal.removeEventListener('abort', onAbort);
      resolve(isOpen);
    };
    const onAbort = (): void => answer(false);
    // the listener for errors stays: one between this moment and the next owner must not end the host
    socket.once('connect', () => answer(true)).on('error', () => answer(false));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  const code = opened ? await negotiate(socket, target, isolation, signal) : 'PROXY_UNREACHABLE';
  if (code === '' && !signal.aborted) return { socket };
  socket.destroy();
  return { code: signal.aborted ? 'ETIMEDOUT' : code };
}

/** Answers with an empty text, or the code of what went wrong. */
async function negotiate(socket: Socket, target: Endpoint, isolation: string, signal: AbortSignal): Promise<string> {
  socket.write(Buffer.from([SOCKS_VERSION, 2, METHOD.password, METHOD.none]));
  const choice = await readExactly(socket, 2, signal);
  if (choice?.[0] !== SOCKS_VERSION) return 'PROXY_MALFORMED';
  if (choice[1] === METHOD.password) {
    const word = Buffer.from(isolation, 'latin1').subarray(0, 255);
    socket.write(Buffer.concat([Buffer.from([1, word.length]), word, Buffer.from([word.length]), word]));
    const verdict = await readExactly(socket, 2, signal);
    if (verdict === undefined) return 'PROXY_MALFORMED';
    if (verdict[1] !== 0) return 'PROXY_REFUSAL';
  } else if (choice[1] !== METHOD.none) return 'PROXY_REFUSAL';
  socket.write(Buffer.concat([Buffer.from([SOCKS_VERSION, COMMAND.connect, 0]), encodeEndpoint(target)]));
  // the bound address follows, and says nothing to us; what comes after it is the target's
  const head = await readExactly(socket, 4, signal);
  if (head === undefined || head[0] !== SOCKS_VERSION) return 'PROXY_MALFORMED';
  const [, reply = 1, , type = 0] = head;
  if (reply !== 0) return REPLY_CODES[reply] ?? (reply >= 0xf0 ? 'EHOSTUNREACH' : 'PROXY_FAILURE');
  const length = type === ADDRESS_TYPE.name ? (await readExactly(socket, 1, signal))?.[0] : 0;
  const size = length === undefined ? undefined : addressLength(type, length);
  if (size === undefined) return 'PROXY_MALFORMED';
  const rest = await readExactly(socket, size + 2, signal);
  return rest === undefined ? 'PROXY_MALFORMED' : '';
}
