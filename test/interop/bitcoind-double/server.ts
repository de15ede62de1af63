import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../../../src/contract/error.js';
import { type CallContext, type Method, RPC_CODE, RpcError } from './call.js';
import { encodeJson, type Json } from './json.js';

/** Largest request body, bytes; Core's own bound. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;

/** What goes wrong on demand; the double changes it while the server runs. */
export interface ServerFaults {
  /** Requests still to be refused with 503 and Core's words. */
  busy: number;
  /** Requests still to be answered by a reset of the connection. */
  resets: number;
  /** Delay of every answer, milliseconds. */
  slowMs: number;
  /** Message of the warm-up error, while it lasts. */
  warmUp: string | undefined;
  /** Answers wait for this. */
  gate: Promise<void> | undefined;
}

/** What the server needs from the double. */
export interface ServerParts {
  readonly methods: Readonly<Record<string, Method>>;
  readonly faults: ServerFaults;
  /** Accepted `user:password` pairs. */
  credentials(): readonly string[];
  context(signal: AbortSignal): CallContext;
  rest(path: string, context: CallContext): Promise<RestAnswer>;
  /** Counts calls by method, for tests that ask what an adapter used. */
  seen(method: string): void;
}

/** An answer of the REST interface. */
export interface RestAnswer {
  status: number;
  type: string;
  body: Uint8Array | string;
}

/** The HTTP end of the double: authentication, JSON-RPC 1.0, 1.1 and 2.0, batches, REST. */
export interface RpcServer {
  listen(port: number): Promise<number>;
  close(): Promise<void>;
}

/** A server that is not listening yet. */
export function createRpcServer(parts: ServerParts): RpcServer {
  let server: Server | undefined;
  return {
    async listen(port) {
      const fresh = createServer((request, response) => {
        handle(request, response, parts).catch(() => response.destroy());
      });
      fresh.listen(port, '127.0.0.1');
      await once(fresh, 'listening');
      server = fresh;
      const address = fresh.address();
      return typeof address === 'object' && address !== null ? address.port : port;
    },
    async close() {
      const closing = server;
      server = undefined;
      if (closing === undefined) return;
      closing.closeAllConnections();
      await new Promise<void>((resolve) => closing.close(() => resolve()));
    },
  };
}

async function handle(request: IncomingMessage, response: ServerResponse, parts: ServerParts): Promise<void> {
  const { faults } = parts;
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  if (faults.resets > 0) {
    faults.resets -= 1;
    request.socket.resetAndDestroy();
    return;
  }
  if (faults.busy > 0) {
    faults.busy -= 1;
    request.resume();
    reply(response, 503, 'text/plain', 'Work queue depth exceeded');
    return;
  }
  const body = await readBody(request);
  if (faults.slowMs > 0) await sleep(faults.slowMs, undefined, { signal: gone.signal });
  await faults.gate;
  const context = parts.context(gone.signal);
  if (request.url?.startsWith('/rest/') === true) {
    const answer = await parts.rest(request.url, context);
    reply(response, answer.status, answer.type, answer.body);
  } else if (request.method !== 'POST') {
    reply(response, 405, 'text/plain', 'JSONRPC server handles only POST requests');
  } else if (!authorised(request, parts)) {
    response.setHeader('www-authenticate', 'Basic realm="jsonrpc"');
    reply(response, 401, 'text/plain', '');
  } else {
    const { status, text } = await answerBody(body, context, parts);
    reply(response, status, 'application/json', text);
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) throw new Error('body too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function authorised(request: IncomingMessage, parts: ServerParts): boolean {
  const [scheme, code] = (request.headers.authorization ?? '').split(' ');
  return scheme === 'Basic' && parts.credentials().includes(Buffer.from(code ?? '', 'base64').toString());
}

function reply(response: ServerResponse, status: number, type: string, body: Uint8Array | string): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

interface RpcRequest {
  jsonrpc?: unknown;
  id?: unknown;
  method?: unknown;
  params?: unknown;
}

interface Outcome {
  request: RpcRequest;
  result?: Json;
  error?: RpcError;
}

async function answerBody(
  body: string,
  context: CallContext,
  parts: ServerParts,
): Promise<{ status: number; text: string }> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    const outcome: Outcome = { request: {}, error: new RpcError(RPC_CODE.parseError, 'Parse error') };
    return { status: 500, text: `${encodeJson(envelope(outcome))}\n` };
  }
  if (Array.isArray(parsed)) {
    // One after the other, and 200 whatever the outcomes: that is how Core answers a batch.
    const answers: Json[] = [];
    for (const request of parsed as RpcRequest[]) {
      const outcome = await answer(request, context, parts);
      if (!isNotification(request)) answers.push(envelope(outcome));
    }
    return { status: 200, text: `${encodeJson(answers)}\n` };
  }
  const outcome = await answer(parsed as RpcRequest, context, parts);
  if (isNotification(outcome.request)) return { status: 204, text: '' };
  return { status: statusOf(outcome), text: `${encodeJson(envelope(outcome))}\n` };
}

function isNotification(request: RpcRequest): boolean {
  return request?.jsonrpc === '2.0' && !('id' in request);
}

function statusOf({ request, error }: Outcome): number {
  if (error === undefined || request.jsonrpc === '2.0') return 200;
  if (error.code === RPC_CODE.invalidRequest) return 400;
  return error.code === RPC_CODE.methodNotFound ? 404 : 500;
}

function envelope({ request, result, error }: Outcome): Json {
  const id = (request.id ?? null) as Json;
  const failure = error === undefined ? null : { code: error.code, message: error.message };
  if (request.jsonrpc === '2.0') return { jsonrpc: '2.0', ...(failure === null ? { result } : { error: failure }), id };
  return { result: result ?? null, error: failure, id };
}

async function answer(request: RpcRequest, context: CallContext, parts: ServerParts): Promise<Outcome> {
  try {
    if (request === null || typeof request !== 'object') {
      throw new RpcError(RPC_CODE.invalidRequest, 'Invalid Request object');
    }
    if (typeof request.method !== 'string') throw new RpcError(RPC_CODE.invalidRequest, 'Method must be a string');
    parts.seen(request.method);
    if (parts.faults.warmUp !== undefined) throw new RpcError(RPC_CODE.warmUp, parts.faults.warmUp);
    const method = parts.methods[request.method];
    if (method === undefined) throw new RpcError(RPC_CODE.methodNotFound, 'Method not found');
    return { request, result: await method.run(positional(request.params, method), context) };
  } catch (error) {
    return { request: request ?? {}, error: asRpcError(error) };
  }
}

function positional(params: unknown, method: Method): readonly unknown[] {
  if (params === undefined || params === null) return [];
  if (Array.isArray(params)) return params;
  if (typeof params !== 'object') {
    throw new RpcError(RPC_CODE.invalidRequest, 'Params must be an array or object');
  }
  const unknown = Object.keys(params).find((name) => !method.names.includes(name));
  if (unknown !== undefined) throw new RpcError(RPC_CODE.invalidParameter, `Unknown named parameter ${unknown}`);
  return method.names.map((name) => (params as Record<string, unknown>)[name]);
}

function asRpcError(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  if (error instanceof HostError && error.reason === 'TRANSACTION_REJECTED') {
    return new RpcError(RPC_CODE.verifyRejected, error.message);
  }
  return new RpcError(RPC_CODE.misc, error instanceof Error ? error.message : String(error));
}
