import { hashFromDisplay, hashToDisplay, toHex } from '../../../src/core/bytes.js';
import type { CallContext } from './call.js';
import { chainMethods } from './chain-methods.js';
import { encodeJson } from './json.js';
import { mempoolMethods } from './mempool-methods.js';
import type { RestAnswer } from './server.js';

/** Most headers of one REST answer; Core's own bound. */
const MOST_REST_HEADERS = 2_000;
const DEFAULT_REST_HEADERS = 5;

/** Bitcoin Core's REST interface, as far as it gives bytes of chain and mempool. @see Bitcoin Core, doc/REST-interface.md */
export async function answerRest(path: string, context: CallContext): Promise<RestAnswer> {
  // Off, Core has no such path at all.
  if (!context.settings.rest) return plain(404, '');
  const url = new URL(path, 'http://localhost');
  const match = /^\/rest\/(.+)\.(bin|hex|json)$/.exec(url.pathname);
  if (match === null) return plain(404, '');
  const [, what = '', format = ''] = match;
  if (what === 'chaininfo' && format === 'json') return await ofMethod('getblockchaininfo', context);
  if (what === 'mempool/info' && format === 'json') return await ofMethod('getmempoolinfo', context);
  const parts = what.split('/');
  if (parts[0] === 'block' || parts[0] === 'tx') {
    const text = parts[parts.length - 1] ?? '';
    const hash = hashFromDisplay(text);
    if (hash === undefined) return plain(400, `Invalid hash: ${text}\r\n`);
    return parts[0] === 'block' ? await block(hash, format, context) : await transaction(hash, format, context);
  }
  if (parts[0] === 'blockhashbyheight') return await hashAt(Number(parts[1]), format, context);
  if (parts[0] === 'headers') return await headers(parts, url, format, context);
  return plain(404, '');
}

function plain(status: number, body: string): RestAnswer {
  return { status, type: 'text/plain', body };
}

function formatted(bytes: Uint8Array, format: string): RestAnswer {
  if (format === 'bin') return { status: 200, type: 'application/octet-stream', body: bytes };
  return plain(200, `${toHex(bytes)}\n`);
}

async function ofMethod(name: string, context: CallContext): Promise<RestAnswer> {
  const method = chainMethods[name] ?? mempoolMethods[name];
  if (method === undefined) return plain(404, '');
  return { status: 200, type: 'application/json', body: `${encodeJson(await method.run([], context))}\n` };
}

async function block(hash: Uint8Array, format: string, context: CallContext): Promise<RestAnswer> {
  const found = await context.node.chain.getBlock(hash, context.signal).catch(() => undefined);
  if (found === undefined) return plain(404, `${hashToDisplay(hash)} not found\r\n`);
  if (found.height < context.settings.prunedBelow) {
    return plain(404, `${hashToDisplay(hash)} not available (pruned data)\r\n`);
  }
  return formatted(found.raw, format);
}

async function transaction(id: Uint8Array, format: string, context: CallContext): Promise<RestAnswer> {
  const pooled = await context.node.mempool?.getRaw(id, context.signal);
  if (pooled !== undefined) return formatted(pooled, format);
  const found = context.settings.txindex
    ? await context.node.chain.getTransaction(id, undefined, context.signal).catch(() => undefined)
    : undefined;
  return found === undefined ? plain(404, `${hashToDisplay(id)} not found\r\n`) : formatted(found.raw, format);
}

async function hashAt(height: number, format: string, context: CallContext): Promise<RestAnswer> {
  if (!Number.isInteger(height) || height < 0) return plain(400, 'Invalid height\r\n');
  const hash = await context.node.chain.getHash(height, context.signal).catch(() => undefined);
  if (hash === undefined) return plain(404, 'Block height out of range\r\n');
  return format === 'bin' ? formatted(hash, format) : plain(200, `${hashToDisplay(hash)}\n`);
}

async function headers(parts: string[], url: URL, format: string, context: CallContext): Promise<RestAnswer> {
  // Newer form: headers/<hash>?count=n; older, still served: headers/<n>/<hash>.
  const older = parts.length === 3;
  const count = Number(older ? parts[1] : (url.searchParams.get('count') ?? DEFAULT_REST_HEADERS));
  const text = parts[older ? 2 : 1] ?? '';
  const hash = hashFromDisplay(text);
  if (hash === undefined) return plain(400, `Invalid hash: ${text}\r\n`);
  if (!Number.isInteger(count) || count < 1 || count > MOST_REST_HEADERS) {
    return plain(400, `Header count is invalid or out of acceptable range (1-${MOST_REST_HEADERS}): ${count}\r\n`);
  }
  const from = await context.node.chain.getHeader(hash, context.signal).catch(() => undefined);
  // A stale or unknown start gives an empty answer, not an error.
  const found =
    from === undefined || from.confirmations === 0
      ? []
      : await context.node.chain.getHeaders(from.height, count, context.signal);
  return formatted(Buffer.concat(found.map((at) => at.header)), format);
}
