import { createServer, type Socket } from 'node:net';
import { Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { InvocationServiceService } from '../../gen/ts/modhost/v1/invocation.js';
import type { ErrorReason, HostError } from '../contract/error.js';
import type { MethodFacts } from '../contract/methods.js';
import type { ServiceDefinition } from '../contract/service.js';
import type { StrictWire } from '../contract/strict-wire.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { Session } from '../session/session.js';
import { adaptService } from './adapt.js';
import { createGuard, type GuardDecision } from './guard.js';
import { gateHeaders } from './header-gate.js';
import { createLargeMessageGate } from './large-messages.js';
import { createPinger } from './ping.js';
import { listenUnix, type Owner } from './socket.js';
import { answerForeignStatuses, type StatusMapper } from './status.js';
import { refuseLooseFrames } from './strict-frames.js';
import { answerUnknownMethods } from './unknown-method.js';

/** Largest message either way: what stock clients accept; a raw block of 4,000,000 bytes fits. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Streams per connection at a time. */
export const MAX_CONCURRENT_STREAMS = 100;
/** Connections per spawn: a second channel, a reconnect, a worker. */
export const MAX_CONNECTIONS = 4;
/** Time from accept to handshake while the session is not open. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;
/** Memory of one HTTP/2 session in MB: eight messages of the largest size in both directions. */
const MAX_SESSION_MEMORY_MB = 64;
/** How often refused connections are told while they go on. */
const REFUSED_REPORT_MS = 1_000;
/**
 * Time between pings on a connection. After too many resets nghttp2 says GOAWAY and stops reading, and Node keeps such a
 * connection until its peer goes: a ping without an answer is what tells the host.
 */
const KEEPALIVE_MS = 30_000;
/** Time for the answer to a ping: long enough for a module that is stopped in a debugger for a while. */
const KEEPALIVE_TIMEOUT_MS = 300_000;
/** Length of the HTTP/2 client preface; a connection that never sent it is nobody's. */
const PREFACE_BYTES = 24;

/** A service of the contract and what answers it. */
export interface Served {
  definition: ServiceDefinition;
  // biome-ignore lint/suspicious/noExplicitAny: ServiceImpl has checked the types where the service was made
  impl: any;
}

/** One spawn's end of its socket. */
export interface ModuleServer {
  readonly socketPath: string;
  connectionCount(): number;
  /** True when one of the connections answers an HTTP/2 PING within the time, and when there is none to ask. */
  ping(timeoutMs: number): Promise<boolean>;
  /** Closes every connection, those of wrong tokens among them; the socket stays. */
  dropConnections(): void;
  /** Lets running calls end for `graceMs`, then closes everything and removes the socket. */
  close(graceMs: number): Promise<void>;
}

/** What a module's server is made of. */
export interface ModuleServerOptions {
  socketPath: string;
  owner?: Owner | undefined;
  session: Session;
  services: readonly Served[];
  methods: ReadonlyMap<string, MethodFacts>;
  statuses: StatusMapper;
  wire: StrictWire;
  clock: Clock;
  log: Logger;
  audit: (decision: GuardDecision) => void;
  /** Hears of every call that was let pass and has failed. */
  onFailed?: ((facts: MethodFacts, error: HostError) => void) | undefined;
  /** Hears the number of connections whenever it changes. */
  onConnections?: ((count: number) => void) | undefined;
  maxConnections?: number | undefined;
  handshakeTimeoutMs?: number | undefined;
  /** Deadline of a unary call that brings none, milliseconds. */
  defaultDeadlineMs?: number | undefined;
  /** Time between pings and for their answers, milliseconds. */
  keepaliveMs?: number | undefined;
}

/**
 * Opens the socket of one spawn. The host accepts connections itself and hands them to grpc-js, which cannot tell them
 * apart: so a silent connection has a deadline, their number a bound, and the socket is the module's identity.
 */
export async function createModuleServer(options: ModuleServerOptions): Promise<ModuleServer> {
  const { session, log } = options;
  const tellTooLarge = (path: string, reason: ErrorReason): void => {
    if (path === InvocationServiceService.serve.path && reason === 'MESSAGE_TOO_LARGE') session.invocations.tooLarge();
  };
  const grpc = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_concurrent_streams': MAX_CONCURRENT_STREAMS,
    'grpc-node.max_session_memory': MAX_SESSION_MEMORY_MB,
    'grpc.enable_channelz': 0,
    'grpc.keepalive_time_ms': options.keepaliveMs ?? KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': options.keepaliveMs ?? KEEPALIVE_TIMEOUT_MS,
    interceptors: [refuseLooseFrames(), answerForeignStatuses(options.statuses, tellTooLarge)],
  } as ConstructorParameters<typeof Server>[0]);
  answerUnknownMethods(grpc, options.statuses);
  const turnstile = gateHeaders(grpc, options.statuses);
  const guard = createGuard(session, options.clock, options.audit, options.defaultDeadlineMs);
  const lane = {
    ...{ guard, statuses: options.statuses, wire: options.wire, methods: options.methods, log },
    gate: createLargeMessageGate(session.pace),
    onRefused: turnstile.refused,
    onFailed: options.onFailed,
  };
  for (const { definition, impl } of options.services) {
    const adapted = adaptService(definition, impl, lane);
    grpc.addService(adapted.definition, adapted.handlers as unknown as UntypedServiceImplementation);
  }
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const pinger = createPinger(grpc, options.clock);
  const connections = new Set<Socket>();
  const timeoutMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;

  const listener = createServer((socket) => {
    connections.add(socket);
    options.onConnections?.(connections.size);
    const deadline = setTimeout(() => {
      if (session.state() !== 'waiting' && socket.bytesRead >= PREFACE_BYTES) return;
      log.warn(
        { timeoutMs, bytesRead: socket.bytesRead },
        'closed a connection without handshake; a client whose calls never arrive must set the authority localhost',
      );
      socket.destroy();
    }, timeoutMs);
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(deadline);
      connections.delete(socket);
      options.onConnections?.(connections.size);
    });
    injector.injectConnection(socket);
  });
  listener.maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
  const tellRefused = createFoldedTelling(REFUSED_REPORT_MS, (count) =>
    log.warn({ reason: 'TOO_MANY_CONNECTIONS', count }, 'closed what was over the limit of connections'),
  );
  listener.on('drop', tellRefused);
  await listenUnix(listener, options.socketPath, options.owner);
  // an accept that fails for want of descriptors must not end the host
  listener.on('error', (err) => log.error({ err }, 'the module socket failed to accept'));

  const dropConnections = (): void => {
    for (const socket of connections) socket.destroy();
  };
  let closing: Promise<void> | undefined;
  return {
    socketPath: options.socketPath,
    connectionCount: () => connections.size,
    ping: (timeoutMs) => pinger.ping(timeoutMs),
    dropConnections,
    close(graceMs) {
      closing ??= (async () => {
        const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
        const drained = new Promise<void>((resolve) => grpc.tryShutdown(() => resolve()));
        const timer = setTimeout(dropConnections, graceMs);
        injector.drain(graceMs);
        await Promise.race([Promise.all([closed, drained]), afterDrop(graceMs)]);
        clearTimeout(timer);
        dropConnections();
        injector.destroy();
        grpc.forceShutdown();
        await closed;
      })();
      return closing;
    },
  };
}

/** Tells the first time at once and what follows within `intervalMs` as one number: a module that loops writes no log full. */
function createFoldedTelling(intervalMs: number, tell: (count: number) => void): () => void {
  let untold = 0;
  let timer: NodeJS.Timeout | undefined;
  const close = (): void => {
    timer = undefined;
    if (untold > 0) open();
  };
  const open = (): void => {
    tell(untold);
    untold = 0;
    timer = setTimeout(close, intervalMs).unref();
  };
  return () => {
    untold += 1;
    if (timer === undefined) open();
  };
}

/** A bound for tryShutdown, which waits for sessions that may never close. */
function afterDrop(graceMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, graceMs + 100).unref());
}
