import {
  type Deadline,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type ServerWritableStream,
  type MethodDefinition as WireMethod,
  type ServiceDefinition as WireService,
} from '@grpc/grpc-js';
import { LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import { HostError } from '../contract/error.js';
import type { MethodFacts } from '../contract/methods.js';
import { type CallContext, Encoded, type MethodDefinition, type ServiceDefinition } from '../contract/service.js';
import type { StrictWire } from '../contract/strict-wire.js';
import type { Logger } from '../core/logger.js';
import type { Admission, Guard } from './guard.js';
import type { LargeMessageGate } from './large-messages.js';
import { splitMessage } from './split-message.js';
import type { StatusMapper } from './status.js';

/**
 * Messages handed to HTTP/2 whose write has not finished. grpc-js would take 16, of up to 4 MiB each; two keep the
 * pipe full and a slow reader's share of the host's memory small.
 */
export const MAX_WRITES_IN_FLIGHT = 2;

/**
 * Streams of the caller whose messages hold nothing but a list, so that a large one may be taken as several small ones:
 * ten thousand records in one message keep the loop for tens of milliseconds.
 */
const LISTS: ReadonlySet<string> = new Set([LogServiceService.write.path]);
/** Size of the parts that such a message is taken in, bytes: about a millisecond of checking and decoding each. */
const PART_BYTES = 16 * 1024;

/**
 * Messages of one stream that are read before they are asked for. grpc-js would read 16, of up to 4 MiB each, on each of a
 * module's streams.
 */
const MESSAGES_AHEAD = 1;

/** What every adapted handler needs. */
export interface Lane {
  guard: Guard;
  statuses: StatusMapper;
  wire: StrictWire;
  methods: ReadonlyMap<string, MethodFacts>;
  log: Logger;
  /** Lets large messages of the caller be decoded in turns; default at once. */
  gate?: LargeMessageGate | undefined;
  /** A call was refused for its volume, by the guard or by its service. */
  onRefused?: (() => void) | undefined;
  /** A call that the guard let pass has failed, whoever is to blame. */
  onFailed?: ((facts: MethodFacts, error: HostError) => void) | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: one adapter serves all methods; ServiceImpl has checked the types
type AnyHandler = (request: any, context: CallContext) => any;
type Handlers = Readonly<Record<string, AnyHandler>>;

type Unary = handleUnaryCall<Buffer, Buffer>;
type ServerStreaming = handleServerStreamingCall<Buffer, Buffer>;
type ClientStreaming = handleClientStreamingCall<Buffer, Buffer>;
type Bidi = handleBidiStreamingCall<Buffer, Buffer>;

/** A service in grpc-js's form: raw bytes in, raw bytes out, callbacks. */
export interface AdaptedService {
  definition: WireService;
  handlers: Record<string, Unary | ServerStreaming | ClientStreaming | Bidi>;
}

/**
 * Puts promise handlers behind grpc-js's callbacks: the only place that knows them. Messages pass as bytes and are
 * decoded here, after the guard, so that a refused call costs no decoding and a malformed message has its own reason.
 * Every handler is awaited inside try: one that rejects would otherwise end the process.
 */
export function adaptService(definition: ServiceDefinition, impl: Handlers, lane: Lane): AdaptedService {
  const adapted: AdaptedService = { definition: {}, handlers: {} };
  for (const [name, method] of Object.entries(definition)) {
    const handler = impl[name];
    const facts = lane.methods.get(method.path);
    if (handler === undefined || facts === undefined)
      throw new Error(`${method.path} has no handler or no declaration`);
    (adapted.definition as Record<string, WireMethod<Buffer, Buffer>>)[name] = {
      path: method.path,
      requestStream: method.requestStream,
      responseStream: method.responseStream,
      requestSerialize: (bytes) => bytes,
      requestDeserialize: (bytes) => bytes,
      responseSerialize: (bytes) => bytes,
      responseDeserialize: (bytes) => bytes,
      originalName: name,
    };
    adapted.handlers[name] = adaptMethod(method, facts, handler.bind(impl), lane);
  }
  return adapted;
}

function adaptMethod(
  method: MethodDefinition,
  facts: MethodFacts,
  handler: AnyHandler,
  lane: Lane,
): Unary | ServerStreaming | ClientStreaming | Bidi {
  const decode = (bytes: Buffer): unknown => {
    lane.wire.assertMessage(facts.requestType, bytes);
    try {
      return method.requestDeserialize(bytes);
    } catch (cause) {
      throw new HostError('MALFORMED_MESSAGE', `the request of ${facts.name} cannot be decoded`, { cause });
    }
  };
  const encode = (message: unknown): Buffer =>
    message instanceof Encoded ? message.bytes : method.responseSerialize(message);

  if (!method.responseStream) {
    const answer = (call: IncomingCall, callback: (error: unknown, value?: Buffer) => void) => {
      void runCall(call, facts, lane, async (admission) => {
        const request = method.requestStream
          ? decodeStream(call as unknown as ReadableCall, facts, decode, lane.gate, admission.signal)
          : await decodeInTurn((call as unknown as { request: Buffer }).request, decode, lane.gate, admission.signal);
        return encode(await untilAborted(handler(request, contextOf(facts, admission)), admission.signal));
      }).then(
        (bytes) => callback(null, bytes),
        (error: unknown) => callback(failed(error, lane)),
      );
    };
    return answer as unknown as Unary;
  }
  const stream = (call: ServerWritableStream<Buffer, Buffer>): void => {
    void runCall(call, facts, lane, async (admission) => {
      const request = method.requestStream
        ? decodeStream(call as unknown as ReadableCall, facts, decode, lane.gate, admission.signal)
        : await decodeInTurn(call.request, decode, lane.gate, admission.signal);
      const responses: AsyncIterable<unknown> = handler(request, contextOf(facts, admission));
      const answers = method.requestStream ? tellAccepted(call, responses) : responses;
      await pump(call, answers, encode, admission.signal);
    }).then(
      () => call.end(),
      (error: unknown) => call.emit('error', failed(error, lane)),
    );
  };
  return stream as unknown as ServerStreaming & Bidi;
}

/** Reasons of a caller that asks for more than it may have. */
const VOLUME: ReadonlySet<string> = new Set(['RATE_LIMITED', 'TOO_MANY_CALLS', 'QUOTA_EXCEEDED']);

function failed(error: unknown, lane: Lane) {
  if (error instanceof HostError && VOLUME.has(error.reason)) lane.onRefused?.();
  return lane.statuses.toStatus(error);
}

interface IncomingCall {
  metadata: Metadata;
  getDeadline(): Deadline;
  on(event: 'cancelled', listener: () => void): unknown;
}

interface ReadableCall {
  iterator(options: { destroyOnReturn: boolean }): AsyncIterableIterator<Buffer>;
  /** Node's own; a test holds this place when it changes. */
  readonly _readableState: { highWaterMark: number };
}

/** Admits the call, runs it, gives back what it held, logs what the host did not foresee. */
async function runCall<T>(
  call: IncomingCall,
  facts: MethodFacts,
  lane: Lane,
  work: (admission: Admission) => Promise<T>,
): Promise<T> {
  const deadline = call.getDeadline();
  const admission = lane.guard.admit({
    facts,
    metadataBytes: metadataSize(call.metadata),
    deadlineUnixMs: typeof deadline === 'number' ? deadline : deadline.getTime(),
  });
  // grpc-js tells 'cancelled' also after a call that ended well; by then nobody listens to the admission
  call.on('cancelled', () => admission.cancel());
  try {
    return await work(admission);
  } catch (thrown) {
    const error = HostError.from(thrown);
    lane.onFailed?.(facts, error);
    if (error.reason === 'INTERNAL')
      lane.log.error({ method: facts.path, err: error.cause ?? error }, 'handler failed');
    throw error;
  } finally {
    admission.release();
  }
}

function contextOf(facts: MethodFacts, admission: Admission): CallContext {
  return { method: facts.path, signal: admission.signal, timeLeftMs: () => admission.timeLeftMs() };
}

/** The handler's answer, or the abort's reason, whichever is first: no call outlives its deadline. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
  }
}

/** Messages of the caller, decoded one by one; ends with the abort's reason when the call must stop. */
async function* decodeStream(
  call: ReadableCall,
  facts: MethodFacts,
  decode: (bytes: Buffer) => unknown,
  gate: LargeMessageGate | undefined,
  signal: AbortSignal,
): AsyncGenerator<unknown> {
  call._readableState.highWaterMark = MESSAGES_AHEAD;
  // destroying the duplex when the loop ends would lose the final status
  const messages = call.iterator({ destroyOnReturn: false });
  for (;;) {
    const next = await untilAborted(messages.next(), signal);
    if (next.done === true) return;
    const parts = LISTS.has(facts.path) ? splitMessage(next.value, PART_BYTES) : [next.value];
    for (const part of parts) yield await decodeInTurn(part, decode, gate, signal);
  }
}

/** A message of the caller, decoded when its turn has come; a call that ends before gives its place back at once. */
async function decodeInTurn(
  bytes: Buffer,
  decode: (bytes: Buffer) => unknown,
  gate: LargeMessageGate | undefined,
  signal: AbortSignal,
): Promise<unknown> {
  if (gate === undefined) return decode(bytes);
  const decoded = gate(bytes.byteLength, () => decode(bytes), signal);
  return decoded instanceof Promise ? untilAborted(decoded, signal) : decoded;
}

/**
 * Sends the response headers once the handler of a two-way stream has not refused at once: its caller may have to send
 * before anything comes back, and sees by them that the stream stands.
 */
function tellAccepted(
  call: ServerWritableStream<Buffer, Buffer>,
  responses: AsyncIterable<unknown>,
): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = responses[Symbol.asyncIterator]();
      let isFirst = true;
      return {
        next() {
          const next = iterator.next();
          if (!isFirst) return next;
          isFirst = false;
          let isSettled = false;
          const settle = (): void => {
            isSettled = true;
          };
          next.then(settle, settle);
          setImmediate(() => {
            if (!isSettled && !call.cancelled) call.sendMetadata(new Metadata());
          });
          return next;
        },
        return: () => iterator.return?.() ?? Promise.resolve({ done: true, value: undefined }),
      };
    },
  };
}

/** Pulls responses only as fast as the transport takes them: the end of the chain that keeps memory flat. */
async function pump(
  call: ServerWritableStream<Buffer, Buffer>,
  responses: AsyncIterable<unknown>,
  encode: (message: unknown) => Buffer,
  signal: AbortSignal,
): Promise<void> {
  let inFlight = 0;
  let wake: (() => void) | undefined;
  const iterator = responses[Symbol.asyncIterator]();
  try {
    for (;;) {
      while (inFlight >= MAX_WRITES_IN_FLIGHT) {
        await untilAborted(
          new Promise<void>((resolve) => {
            wake = resolve;
          }),
          signal,
        );
      }
      const next = await untilAborted(iterator.next(), signal);
      if (next.done === true) return;
      inFlight += 1;
      call.write(encode(next.value), () => {
        inFlight -= 1;
        wake?.();
      });
    }
  } finally {
    // not awaited: a generator that waits for something would hold the status back
    void Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

function metadataSize(metadata: Metadata): number {
  let bytes = 0;
  for (const [key, values] of Object.entries(metadata.toJSON())) {
    for (const value of values) bytes += key.length + value.length;
  }
  return bytes;
}
