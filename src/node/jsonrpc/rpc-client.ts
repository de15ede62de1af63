import type { ZodType } from 'zod';

import { HostError, throwIfAborted } from '../../contract/error.js';
import { createBackoff } from '../../core/backoff.js';
import { delay } from '../../core/delay.js';
import type { RawRpcApi } from '../node-api.js';
import { type Credentials, createAuthorization } from './credentials.js';
import { createHttpExchange, type EndpointOptions, type HttpAnswer, UNAVAILABLE_RETRY_MS } from './http-exchange.js';
import { parseLossless } from './lossless.js';
import { readRawAnswer } from './raw-answer.js';
import { hostErrorOf, type RpcFailure } from './rpc-failure.js';

/** Calls in one batch at most: a batch occupies one worker of the node for its whole length. */
export const MAX_BATCH_CALLS = 100;

/** How often a busy node is asked again before the caller is told. */
const BUSY_ATTEMPTS = 4;

/** Waits between those attempts: together about 1.5 s, well below the default deadline of a call. */
const BUSY_BACKOFF = { firstMs: 100, maxMs: 1_000, jitter: 0.5 };

/** When a caller should come back to a busy node. */
const BUSY_RETRY_MS = 1_000;

/** Most characters of a node's text that end up in a message of ours. */
const MAX_QUOTED_CHARS = 200;

/** One call. */
export interface RpcCall {
  method: string;
  params: readonly unknown[];
}

/** What the node said to one call. */
export type RpcOutcome = { result: unknown } | { failure: RpcFailure };

/** How a call is made. */
export interface RpcCallOptions {
  signal: AbortSignal;
  /** Time for the whole exchange; needed for long polls only. */
  timeoutMs?: number | undefined;
  /** True when all numbers of the answer are integers or plain figures: spares the exact parse of large answers. */
  plainNumbers?: boolean | undefined;
  /** Gives the error for a failure that means something particular here; undefined = the general table decides. */
  explain?: ((failure: RpcFailure) => HostError | undefined) | undefined;
}

/** JSON-RPC to one node. Rejects only with HostError. */
export interface RpcClient {
  /** One call, its result checked. @throws NODE_UNAVAILABLE, NODE_BUSY, NODE_AUTH, NODE_SYNCING, NODE_ERROR, NODE_LACKS_FEATURE, what `explain` gives */
  call<T>(method: string, params: readonly unknown[], schema: ZodType<T>, options: RpcCallOptions): Promise<T>;
  /** Calls in one exchange (split above MAX_BATCH_CALLS), outcomes in their order. @throws as `call`, but for the calls' own failures */
  batch(calls: readonly RpcCall[], options: RpcCallOptions): Promise<RpcOutcome[]>;
  /** Calls of the operator's own programs, handed on byte for byte. */
  readonly raw: RawRpcApi;
  /** GET on the same endpoint without credentials: Bitcoin Core's REST. Any status is an answer. */
  get(path: string, signal: AbortSignal): Promise<HttpAnswer>;
  /** Closes every socket. */
  close(): void;
}

/** What the client needs. */
export interface RpcClientOptions extends EndpointOptions {
  credentials: Credentials;
  /** False for nodes that take one call per exchange. */
  batching: boolean;
}

/** Makes a client; `random` spreads the retries at a busy node. */
export function createRpcClient(options: RpcClientOptions, random: () => number): RpcClient {
  const http = createHttpExchange(options);
  // what is handed on may move money, so no exchange of it is ever repeated
  const once = createHttpExchange({ ...options, keepAlive: false });
  const authorization = createAuthorization(options.credentials);
  let nextId = 1;

  const post = async (
    body: string,
    methods: string,
    { signal, timeoutMs }: RpcCallOptions,
    through = http,
  ): Promise<Buffer> => {
    const backoff = createBackoff(BUSY_BACKOFF, random);
    let refreshed = false;
    for (let attempt = 1; ; attempt++) {
      const header = await authorization.header();
      const answer = await through.send({
        method: 'POST',
        path: '/',
        authorization: header,
        body,
        signal,
        timeoutMs,
      });
      if (answer.status === 401) {
        if (!refreshed && (await authorization.refresh())) {
          refreshed = true;
          continue;
        }
        throw new HostError('NODE_AUTH', "the node refuses the host's user and password or cookie");
      }
      if (answer.status === 403) {
        throw new HostError(
          'NODE_AUTH',
          `the node does not allow the host's user ${methods} (rpcwhitelist, rpcallowip)`,
        );
      }
      if (!isBusy(answer)) return checkStatus(answer);
      if (attempt >= BUSY_ATTEMPTS) {
        throw new HostError('NODE_BUSY', "the node's work queue is full", { retryAfterMs: BUSY_RETRY_MS });
      }
      await delay(backoff.nextMs(), signal);
      throwIfAborted(signal);
    }
  };

  const exchange = async (calls: readonly RpcCall[], callOptions: RpcCallOptions): Promise<RpcOutcome[]> => {
    const first = nextId;
    nextId += calls.length;
    const requests = calls.map((call, i) => ({
      jsonrpc: '1.0',
      id: first + i,
      method: call.method,
      params: call.params,
    }));
    const single = requests.length === 1 && requests[0] !== undefined;
    const body = JSON.stringify(single ? requests[0] : requests);
    const methods = [...new Set(calls.map((call) => call.method))].join(', ');
    const answer = await post(body, methods, callOptions);
    const parsed = parseAnswer(answer.toString('utf8'), callOptions.plainNumbers === true);
    const replies = single ? [parsed] : parsed;
    if (!Array.isArray(replies)) {
      // A node that rejects the batch as a whole answers with one object.
      const failure = failureOf(replies);
      throw failure === undefined ? garbage('no array for a batch') : hostErrorOf(failure);
    }
    const byId = new Map<unknown, unknown>();
    for (const reply of replies) if (isObject(reply)) byId.set(reply.id, reply);
    return requests.map((request) => outcomeOf(single ? replies[0] : byId.get(request.id)));
  };

  const batch = async (calls: readonly RpcCall[], callOptions: RpcCallOptions): Promise<RpcOutcome[]> => {
    const outcomes: RpcOutcome[] = [];
    const size = options.batching ? MAX_BATCH_CALLS : 1;
    for (let at = 0; at < calls.length; at += size) {
      outcomes.push(...(await exchange(calls.slice(at, at + size), callOptions)));
    }
    for (const outcome of outcomes) {
      // Warm-up concerns the node, not one call: nothing else of the batch can be trusted to be an answer either.
      if ('failure' in outcome && outcome.failure.code === -28) throw hostErrorOf(outcome.failure);
    }
    return outcomes;
  };

  return {
    async call(method, params, schema, callOptions) {
      const [outcome] = await exchange([{ method, params }], callOptions);
      return resultOf(
        method,
        outcome ?? { failure: { code: -32603, message: 'no answer' } },
        schema,
        callOptions.explain,
      );
    },
    batch,
    raw: {
      async call(method, paramsJson, signal) {
        const params = paramsJson === '' ? '[]' : paramsJson;
        const body = `{"jsonrpc":"1.0","id":${nextId++},"method":${JSON.stringify(method)},"params":${params}}`;
        return readRawAnswer(await post(body, method, { signal }, once));
      },
    },
    get: (path, signal) => http.send({ method: 'GET', path, signal }),
    close() {
      http.close();
      once.close();
    },
  };
}

/** Result of one outcome, checked against a schema. @throws what `explain` or the general table says of a failure, NODE_ERROR */
export function resultOf<T>(
  method: string,
  outcome: RpcOutcome | undefined,
  schema: ZodType<T>,
  explain?: (failure: RpcFailure) => HostError | undefined,
): T {
  if (outcome === undefined) throw garbage(`no outcome of ${method}`);
  if ('failure' in outcome) throw explain?.(outcome.failure) ?? hostErrorOf(outcome.failure);
  const parsed = schema.safeParse(outcome.result);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw garbage(`${method}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
}

function isBusy({ status, body }: HttpAnswer): boolean {
  return status === 503 || status === 429 || (body.length < 1_000 && body.includes('Work queue depth exceeded'));
}

/** Nodes answer failed calls with 400, 404 or 500 and a JSON body; the body decides. */
function checkStatus({ status, body }: HttpAnswer): Buffer {
  const start = body.toString('latin1', 0, MAX_QUOTED_CHARS);
  if (status === 200 && start.trim() === '') {
    // What btcd answers while it stops.
    throw new HostError('NODE_UNAVAILABLE', 'the node gave an empty answer; it is stopping', {
      retryAfterMs: UNAVAILABLE_RETRY_MS,
    });
  }
  if (status === 200 || /^\s*[[{]/.test(start)) return body;
  throw new HostError('NODE_ERROR', `the node answered HTTP status ${status}: ${quote(start)}`);
}

function parseAnswer(text: string, plain: boolean): unknown {
  try {
    return plain ? JSON.parse(text) : parseLossless(text);
  } catch (error) {
    throw new HostError('NODE_ERROR', `the node's answer is no JSON: ${quote(text)}`, { cause: error });
  }
}

function outcomeOf(reply: unknown): RpcOutcome {
  const failure = failureOf(reply);
  if (failure !== undefined) return { failure };
  if (!isObject(reply) || !('result' in reply)) throw garbage('an answer without result and error');
  return { result: reply.result };
}

function failureOf(reply: unknown): RpcFailure | undefined {
  if (!isObject(reply) || !isObject(reply.error)) return undefined;
  const { code, message } = reply.error;
  return {
    code: typeof code === 'number' ? code : -32603,
    message: typeof message === 'string' ? message.slice(0, MAX_QUOTED_CHARS) : '',
  };
}

function garbage(what: string): HostError {
  return new HostError('NODE_ERROR', `the node's answer cannot be used: ${what.slice(0, MAX_QUOTED_CHARS)}`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, MAX_QUOTED_CHARS));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
