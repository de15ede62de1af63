import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { HostError } from '../../contract/error.js';
import { delay } from '../../core/delay.js';
import type { Logger } from '../../core/logger.js';
import { answerText, type CallAnswer, errorAnswer, httpStatusOf, type JsonPiece, join } from './answer.js';
import type { Doorkeeper } from './credentials.js';
import type { Dispatch } from './dispatch.js';
import {
  ANSWER_STALL_MS,
  CHECK_INTERVAL_MS,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  MAX_ANSWER_BYTES,
  MAX_BODIES_BYTES,
  MAX_BODY_BYTES,
  MAX_CONNECTIONS,
  MAX_HEADER_BYTES,
  MAX_OPEN_REQUESTS,
  MAX_REQUEST_MS,
  REQUEST_TIMEOUT_MS,
  WRONG_PASSWORD_DELAY_MS,
} from './limits.js';
import type { Page } from './pages.js';
import { CODE, readRequest, type WrittenRequest } from './request.js';

/** What the door opens to. */
export interface DoorParts {
  readonly dispatch: Dispatch;
  readonly doorkeeper: Doorkeeper;
  readonly pages: ReadonlyMap<string, () => Promise<Page>>;
  /** True when pages need the password too. */
  readonly pagesAuth: boolean;
  readonly log: Logger;
}

/** An HTTP server that does not listen yet. */
export interface Door {
  readonly server: Server;
  /** Ends every connection and what is worked on for it. */
  close(): Promise<void>;
}

/**
 * Makes the HTTP side: who may come in, how much, how long; and how answers are put. Everything is refused as early as it
 * can be: before a password is right nothing of a body is read.
 */
export function createDoor(parts: DoorParts): Door {
  const { log, pages } = parts;
  const sockets = new Set<Socket>();
  let open = 0;
  let bodies = 0;

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const refused = strangerRefusal(request);
    if (refused !== undefined) return refuse(request, response, 403, refused);
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const page = pages.get(path);
    if (page === undefined && path !== '/') return refuse(request, response, 404, 'there is nothing at this path');
    const allowed = page === undefined ? ['POST'] : ['GET', 'HEAD'];
    if (!allowed.includes(request.method ?? '')) {
      response.setHeader('allow', allowed.join(', '));
      const text = page === undefined ? 'JSONRPC server handles only POST requests' : 'this page can only be read';
      return refuse(request, response, 405, text);
    }
    let user: string | undefined;
    if (page === undefined || parts.pagesAuth) {
      const header = request.headers.authorization;
      user = parts.doorkeeper.userOf(header);
      if (user === undefined) {
        if (header !== undefined) {
          log.warn({ from: request.socket.remoteAddress }, 'the front door was tried with a wrong password');
          await delay(WRONG_PASSWORD_DELAY_MS);
        }
        response.setHeader('www-authenticate', 'Basic realm="jsonrpc"');
        return refuse(request, response, 401, 'user and password of the cookie file are needed');
      }
    }
    if (open >= MAX_OPEN_REQUESTS) return refuse(request, response, 503, 'Work queue depth exceeded');
    open += 1;
    try {
      if (page !== undefined) return send(response, await page());
      await answerCalls(request, response, user ?? '');
    } finally {
      open -= 1;
    }
  };

  const answerCalls = async (request: IncomingMessage, response: ServerResponse, user: string): Promise<void> => {
    const size = Number(request.headers['content-length'] ?? 0);
    if (size > MAX_BODY_BYTES) return refuse(request, response, 413, `a body has at most ${MAX_BODY_BYTES} bytes`);
    let kept = 0;
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) {
        kept += chunk.byteLength;
        bodies += chunk.byteLength;
        if (kept > MAX_BODY_BYTES) return refuse(request, response, 413, `a body has at most ${MAX_BODY_BYTES} bytes`);
        if (bodies > MAX_BODIES_BYTES) return refuse(request, response, 503, 'Work queue depth exceeded');
        chunks.push(chunk);
      }
      const gone = new AbortController();
      response.once('close', () => gone.abort(new HostError('CANCELLED', 'the client has gone')));
      const late = setTimeout(
        () => gone.abort(new HostError('DEADLINE_EXCEEDED', `a request has at most ${MAX_REQUEST_MS} ms`)),
        MAX_REQUEST_MS,
      );
      try {
        const written = readRequest(Buffer.concat(chunks));
        const { status, pieces } = await answerAll(parts.dispatch, written, user, gone.signal);
        sendJson(response, status, pieces);
      } finally {
        clearTimeout(late);
      }
    } finally {
      bodies -= kept;
    }
  };

  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      requireHostHeader: true,
    },
    (request, response) => {
      serve(request, response).catch((err: unknown) => {
        // a client that broke off while its body was read is its own affair
        if (!request.destroyed) log.error({ err }, 'the front door could not answer');
        response.destroy();
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  return {
    server,
    async close() {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Names of this machine to itself. A page of a browser that was led here by another name is not let in (DNS rebinding). */
const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?$/i;

/** Why whoever sent this is no client of ours; undefined when it may be one. */
function strangerRefusal({ headers, headersDistinct }: IncomingMessage): string | undefined {
  const host = headersDistinct.host ?? [];
  if (host.length !== 1 || !LOOPBACK.test(host[0] ?? '')) return 'the Host header must name this machine: localhost';
  // every browser sends it with what a page may send elsewhere; no client of a node does
  return headers.origin === undefined ? undefined : 'pages of browsers are not served';
}

async function answerAll(
  dispatch: Dispatch,
  { batch, calls }: WrittenRequest,
  user: string,
  signal: AbortSignal,
): Promise<{ status: number; pieces: JsonPiece[] }> {
  const answers: JsonPiece[][] = [];
  let bytes = 0;
  let status = 200;
  for (const call of calls) {
    // nobody waits any more: what has not begun is not begun
    if (signal.aborted) break;
    const full = errorAnswer(
      CODE.INTERNAL,
      'the answers of this request are too large together; ask for less at a time',
    );
    const answer: CallAnswer = bytes > MAX_ANSWER_BYTES ? full : await dispatch(call, user, signal);
    // as Bitcoin Core: a notification that breaks the protocol is told so when it comes alone
    if (call.notification && (batch || call.refusal === undefined)) continue;
    const pieces = answerText(call, answer);
    for (const piece of pieces) bytes += piece.length;
    if (!batch) status = httpStatusOf(call, answer);
    answers.push(pieces);
  }
  if (!batch) return { status, pieces: answers[0] ?? [] };
  // as Bitcoin Core: an empty batch gets an empty list, one of notifications alone gets nothing
  if (answers.length === 0 && calls.length > 0) return { status, pieces: [] };
  return {
    status,
    pieces: ['[', ...answers.flatMap((pieces, place) => (place === 0 ? pieces : [',', ...pieces])), ']'],
  };
}

function sendJson(response: ServerResponse, status: number, pieces: readonly JsonPiece[]): void {
  if (response.destroyed) return;
  if (pieces.length === 0) {
    response.writeHead(204).end();
    return;
  }
  const body = join([...pieces, '\n']);
  watchReader(response);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.byteLength }).end(body);
}

function send(response: ServerResponse, { status, type, body }: Page): void {
  watchReader(response);
  const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' };
  response.writeHead(status, headers).end(body);
}

/** Refuses a request without reading what is left of it; the connection goes with it. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  const unread = !request.complete;
  watchReader(response);
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text) + 1,
    ...(unread ? { connection: 'close' } : {}),
  });
  response.end(`${text}\n`);
}

/** An answer that nobody reads is not kept for ever. */
function watchReader(response: ServerResponse): void {
  const { socket } = response;
  if (socket === null) return;
  const give = (): void => void socket.destroy();
  socket.setTimeout(ANSWER_STALL_MS, give);
  // With its listener: a connection that is kept open for many answers would gather one for each.
  response.once('finish', () => socket.setTimeout(0, give));
}
