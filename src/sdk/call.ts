import {
  type Client,
  type ClientReadableStream,
  Metadata,
  status,
  type CallOptions as WireCallOptions,
} from '@grpc/grpc-js';
import { cancelled, ModhostError } from './error.js';

/** Deadline of a unary call that names none, milliseconds: the host's own default. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** How one call differs from the usual. */
export interface CallOptions {
  /** Cancels the call, here and at the host; it then fails with CANCELLED. */
  signal?: AbortSignal | undefined;
  /** Deadline in milliseconds. Default 10,000 for calls with one answer, none for streams. */
  timeoutMs?: number | undefined;
}

/** One method of a generated service definition, as far as a caller needs it. */
export interface ClientMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: the generated definitions are heterogeneous; exact types are derived below
  readonly requestSerialize: (value: any) => Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly requestDeserialize: (bytes: Buffer) => any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly responseDeserialize: (bytes: Buffer) => any;
}

type RequestOf<M> = M extends { readonly requestSerialize: (value: infer R) => Buffer } ? R : never;
type ResponseOf<M> = M extends { readonly responseDeserialize: (bytes: Buffer) => infer R } ? R : never;
type Several<T> = Iterable<T> | AsyncIterable<T>;

/** Arguments of a method: one request whose absent fields take their defaults, or several. */
type Request<M> = M extends { readonly requestStream: true }
  ? Several<Partial<RequestOf<M>>>
  : Partial<RequestOf<M>> | undefined;
/** Result of a method: one answer, or several to iterate over; leaving the loop cancels the call. */
type Response<M> = M extends { readonly responseStream: true }
  ? AsyncGenerator<ResponseOf<M>, void, undefined>
  : Promise<ResponseOf<M>>;

/** A service as a caller sees it: promises and async iterables that fail with ModhostError. */
export type ServiceClient<D> = {
  readonly [K in keyof D]: D[K] extends { readonly requestStream: true }
    ? (requests: Request<D[K]>, options?: CallOptions) => Response<D[K]>
    : (request?: Request<D[K]>, options?: CallOptions) => Response<D[K]>;
};

/** Makes the caller of one generated service definition over a channel. */
export function createServiceClient<D extends Readonly<Record<string, ClientMethod>>>(
  channel: Client,
  definition: D,
): ServiceClient<D> {
  const calls = Object.entries(definition).map(([name, method]) => [name, createCall(channel, method)]);
  return Object.fromEntries(calls) as ServiceClient<D>;
}

// biome-ignore lint/suspicious/noExplicitAny: one caller serves all methods; ServiceClient gives the types
type AnyCall = (request: any, options?: CallOptions) => unknown;

function createCall(channel: Client, method: ClientMethod): AnyCall {
  const { requestStream, responseStream } = method;
  if (requestStream) {
    return responseStream
      ? (requests, options) => bidi(channel, method, requests, options)
      : (requests, options) => clientStream(channel, method, requests, options);
  }
  return responseStream
    ? (request, options) => serverStream(channel, method, request, options)
    : (request, options) => unary(channel, method, request, options);
}

/** Absent fields get their defaults, which an empty message decodes to. */
function completed(method: ClientMethod, request: object | undefined): object {
  return { ...(method.requestDeserialize(Buffer.alloc(0)) as object), ...request };
}

function wireOptions(timeoutMs: number | undefined): WireCallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function unary(channel: Client, method: ClientMethod, request: object | undefined, options: CallOptions = {}) {
  return answerOf(options, (callback) =>
    channel.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      completed(method, request),
      new Metadata(),
      wireOptions(options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
      callback,
    ),
  );
}

function clientStream(channel: Client, method: ClientMethod, requests: Several<object>, options: CallOptions = {}) {
  const over = new AbortController();
  return answerOf(options, (callback) => {
    const call = channel.makeClientStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      new Metadata(),
      wireOptions(options.timeoutMs),
      (error, value) => {
        over.abort();
        callback(error, value);
      },
    );
    void feed(call, method, requests, over.signal);
    return call;
  });
}

/** The one answer of a call that `start` begins, or its error. */
function answerOf(
  { signal }: CallOptions,
  start: (callback: (error: Error | null, value?: unknown) => void) => { cancel(): void },
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(cancelled(signal.reason));
    const stop = (): void => call.cancel();
    const call = begun(() =>
      start((error, value) => {
        signal?.removeEventListener('abort', stop);
        if (error === null) resolve(value);
        else reject(ModhostError.from(error));
      }),
    );
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** A call's beginning; the only thing that fails there is a channel that was closed. */
function begun<T>(start: () => T): T {
  try {
    return start();
  } catch (cause) {
    throw new ModhostError('SESSION_CLOSED', 'the module has closed its connection', {
      code: status.UNAVAILABLE,
      cause,
    });
  }
}

async function* serverStream(
  channel: Client,
  method: ClientMethod,
  request: object | undefined,
  options: CallOptions = {},
): AsyncGenerator<unknown, void, undefined> {
  if (options.signal?.aborted) throw cancelled(options.signal.reason);
  const call = begun(() =>
    channel.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      completed(method, request),
      new Metadata(),
      wireOptions(options.timeoutMs),
    ),
  );
  yield* answersOf(call, options.signal);
}

async function* bidi(
  channel: Client,
  method: ClientMethod,
  requests: Several<object>,
  options: CallOptions = {},
): AsyncGenerator<unknown, void, undefined> {
  if (options.signal?.aborted) throw cancelled(options.signal.reason);
  const call = begun(() =>
    channel.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      new Metadata(),
      wireOptions(options.timeoutMs),
    ),
  );
  const over = new AbortController();
  void feed(call, method, requests, over.signal);
  try {
    yield* answersOf(call, options.signal);
  } finally {
    over.abort();
  }
}

/** Answers as fast as the reader takes them; the call is cancelled when the reader leaves. */
async function* answersOf(
  call: ClientReadableStream<unknown>,
  signal: AbortSignal | undefined,
): AsyncGenerator<unknown, void, undefined> {
  const stop = (): void => call.cancel();
  // a cancelled call tells its error once more, when nobody iterates: without a listener that would end the process
  call.on('error', () => {});
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for await (const answer of call) yield answer;
  } catch (error) {
    throw ModhostError.from(error);
  } finally {
    signal?.removeEventListener('abort', stop);
    call.cancel();
  }
}

/** What a stream of requests is written to. */
interface Sink {
  write(message: object): boolean;
  end(): void;
  cancel(): void;
  once(event: 'drain', listener: () => void): unknown;
  off(event: 'drain', listener: () => void): unknown;
}

/**
 * Writes requests as fast as the transport takes them, and half-closes after the last.
 *
 * @param over fires when the call has its result: grpc-js leaves the writing end open and silent then
 */
async function feed(call: Sink, method: ClientMethod, requests: Several<object>, over: AbortSignal): Promise<void> {
  try {
    for await (const request of requests) {
      if (over.aborted) return;
      if (!call.write(completed(method, request))) await drained(call, over);
    }
    call.end();
  } catch {
    // the caller's own iterable failed: the host must not take what it got for the whole
    call.cancel();
  }
}

function drained(call: Sink, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (over.aborted) return resolve();
    const done = (): void => {
      call.off('drain', done);
      over.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    over.addEventListener('abort', done, { once: true });
  });
}
