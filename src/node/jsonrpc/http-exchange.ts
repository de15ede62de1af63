import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

import { HostError, throwIfAborted } from '../../contract/error.js';

/** Most bytes of one answer: a block as hex is 8 MB, a full template with its JSON about 20 MB. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** Most bytes of one request: Bitcoin Core refuses above 32 MiB, a block as hex is 8 MB. */
export const MAX_REQUEST_BYTES = 32 * 1024 * 1024;

/** Time for one exchange; the node may scan for long, but a module's deadline is shorter anyway. */
export const EXCHANGE_TIMEOUT_MS = 60_000;

/** When to try again after the node could not be reached. */
export const UNAVAILABLE_RETRY_MS = 1_000;

/** Idle sockets are dropped before the node does: Bitcoin Core closes them after 30 s (-rpcservertimeout). */
const IDLE_SOCKET_MS = 15_000;

/** Where the node listens and how. */
export interface EndpointOptions {
  /** `http://host:port` or `https://host:port`. */
  url: string;
  /** Gives the PEM of the certificate or authority to trust; without it the system's. Only for https. */
  readCa?: (() => Promise<Buffer | undefined>) | undefined;
  /** Sockets open at once at most. */
  maxSockets: number;
  /** False: a socket of its own for every exchange, so that nothing is ever sent twice. Default true. */
  keepAlive?: boolean | undefined;
}

/** One exchange. */
export interface HttpRequest {
  method: 'GET' | 'POST';
  path: string;
  authorization?: string | undefined;
  body?: string | undefined;
  signal: AbortSignal;
  timeoutMs?: number | undefined;
}

/** What came back, whatever its status. */
export interface HttpAnswer {
  status: number;
  body: Buffer;
}

/** Plain HTTP to one node: bounded sockets, bounded bodies. */
export interface HttpExchange {
  /** @throws NODE_UNAVAILABLE, NODE_ERROR (answer over its bound), CANCELLED or the signal's own reason */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** Closes all sockets. */
  close(): void;
}

/** Opens nothing yet: sockets are made at the first exchange. @throws BAD_CONFIG for a URL that is none */
export function createHttpExchange(options: EndpointOptions): HttpExchange {
  const url = parseEndpoint(options.url);
  const secure = url.protocol === 'https:';
  const keepAlive = options.keepAlive ?? true;
  const settings = { keepAlive, maxSockets: options.maxSockets, timeout: IDLE_SOCKET_MS };
  const start = secure ? httpsRequest : httpRequest;
  let agent: HttpAgent | undefined;
  const openAgent = async (): Promise<HttpAgent> => {
    if (!secure) return new HttpAgent(settings);
    return new HttpsAgent({ ...settings, ca: await options.readCa?.() });
  };

  let closed = false;

  const once = (through: HttpAgent, request: HttpRequest): Promise<HttpAnswer> =>
    new Promise((resolve, reject) => {
      const headers: Record<string, string> = { connection: keepAlive ? 'keep-alive' : 'close' };
      if (request.authorization !== undefined) headers.authorization = request.authorization;
      if (request.body !== undefined) {
        headers['content-type'] = 'application/json';
        headers['content-length'] = String(Buffer.byteLength(request.body));
      }
      const sent = start({
        agent: through,
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
        path: request.path,
        method: request.method,
        headers,
      });
      const timeoutMs = request.timeoutMs ?? EXCHANGE_TIMEOUT_MS;
      const timer = setTimeout(() => sent.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
      const abort = (): void => void sent.destroy(new Error('aborted'));
      request.signal.addEventListener('abort', abort, { once: true });
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        request.signal.removeEventListener('abort', abort);
        act();
      };
      const fail = (error: Error): void => settle(() => reject(translate(error, request.signal, sent.reusedSocket)));
      sent.on('error', fail);
      sent.on('response', (answer) => {
        collect(answer).then((body) => settle(() => resolve({ status: answer.statusCode ?? 0, body })), fail);
      });
      sent.end(request.body);
    });

  return {
    async send(request) {
      throwIfAborted(request.signal);
      // A destroyed agent would open new sockets for new requests.
      if (closed) throw new HostError('NODE_UNAVAILABLE', 'the node adapter is stopped');
      if (request.body !== undefined && request.body.length > MAX_REQUEST_BYTES) {
        throw new HostError('INVALID_REQUEST', 'the request is larger than any node accepts');
      }
      for (let attempt = 0; ; attempt++) {
        try {
          agent ??= await openAgent();
          return await once(agent, request);
        } catch (error) {
          // The node may have made itself a new certificate: it is read again for the next call.
          if (secure && error instanceof HostError && error.reason === 'NODE_AUTH') agent = undefined;
          // A kept socket may have been closed by the node at the same moment; one fresh socket tells the truth. Every
          // call of this house may be sent twice: reads, and submissions that answer "already known".
          if (error instanceof StaleSocket && attempt < options.maxSockets + 1) continue;
          throw error instanceof StaleSocket ? unreachable(error) : error;
        }
      }
    },
    close() {
      closed = true;
      agent?.destroy();
      agent = undefined;
    },
  };
}

class StaleSocket extends Error {}

function parseEndpoint(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw new HostError('BAD_CONFIG', `the node's url is no URL: ${text}`, { cause: error });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new HostError('BAD_CONFIG', `the node's url must begin with http:// or https://: ${text}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new HostError('BAD_CONFIG', "credentials do not belong into the node's url; use user and password");
  }
  return url;
}

async function collect(answer: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let total = 0;
  for await (const part of answer as AsyncIterable<Buffer>) {
    total += part.byteLength;
    if (total > MAX_ANSWER_BYTES) {
      answer.destroy();
      throw new HostError('NODE_ERROR', `the node's answer is over ${MAX_ANSWER_BYTES} bytes`);
    }
    parts.push(part);
  }
  if (!answer.complete) throw new Error('the answer broke off');
  return Buffer.concat(parts, total);
}

function translate(error: Error, signal: AbortSignal, reused: boolean): Error {
  if (error instanceof HostError) return error;
  if (signal.aborted) {
    try {
      throwIfAborted(signal);
    } catch (aborted) {
      return aborted as Error;
    }
  }
  const code = (error as NodeJS.ErrnoException).code;
  if (reused && (code === 'ECONNRESET' || code === 'EPIPE')) return new StaleSocket(error.message, { cause: error });
  if (code !== undefined && /CERT|SIGN|TLS|SSL|ALTNAME|EPROTO/.test(code)) {
    return new HostError('NODE_AUTH', `the node's certificate does not verify (${code}); name its file as tls_ca`, {
      cause: error,
    });
  }
  return unreachable(error);
}

function unreachable(error: Error): HostError {
  const code = (error as NodeJS.ErrnoException).code;
  return new HostError('NODE_UNAVAILABLE', `the node cannot be reached (${code ?? error.message})`, {
    retryAfterMs: UNAVAILABLE_RETRY_MS,
    cause: error,
  });
}
