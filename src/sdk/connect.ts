import type { SessionContext } from '../../gen/ts/modhost/v1/session.js';
import { createBackoff } from '../core/backoff.js';
import { type Clock, createSystemClock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import { createChannel, DEFAULT_MAX_MESSAGE_BYTES } from './channel.js';
import { createClients, type ModuleClients, type NodeClients } from './clients.js';
import { readEnvironment, readToken } from './environment.js';
import { ModhostError } from './error.js';
import { type EventItem, type EventOptions, openEvents } from './events.js';
import { type ChainChange, type FollowOptions, openFollow } from './follow.js';
import { type HandshakeAnswer, handshake, parseConfig } from './handshake.js';
import type { Handlers } from './invocations.js';
import { createModuleLog, type ModuleLog } from './log.js';
import { type ApiOffer, type CallModule, createCallModule, registrationOf } from './module-calls.js';
import { keepServing, type Serving } from './serve.js';
import type { SubscriptionLink } from './subscription.js';

/** How long the first handshake is tried against a socket that does not answer yet, milliseconds. */
const CONNECT_MS = 5_000;
/** Waits between those attempts. */
const CONNECT_RETRY = { firstMs: 50, maxMs: 500, jitter: 0.3 };
/** How long a subscription waits for a host that is gone, milliseconds: a restart takes seconds. */
const MAX_OUTAGE_MS = 60_000;

/** Who connects. */
export interface ConnectOptions {
  /** `version` of the module's manifest. */
  version: string;
  /** Where MODHOST_SOCKET and its like are read; default the process's environment. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Longest time without a host before a subscription fails with HOST_UNREACHABLE, milliseconds [60,000]. */
  maxOutageMs?: number;
  clock?: Clock;
  /** Numbers in [0, 1). */
  random?: () => number;
}

/** A module's session: the founding document's ModuleIntegration. The node's services stand on it by name. */
export interface Module extends NodeClients {
  /** The module's name. */
  readonly name: string;
  /** Id of this spawn. */
  readonly instanceId: string;
  /** Directory that the module may write to, and that survives it. */
  readonly dataDir: string;
  /** Grants, limits, network, services: what the host told last. */
  readonly context: SessionContext;
  /** The module's configuration, validated by the host against the manifest. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The same as the host wrote it, with integers in full. */
  readonly configJson: string;
  /** Every service of the contract. */
  readonly clients: ModuleClients;
  readonly log: ModuleLog;
  /** Fires when the host has ended the session, or `close` was called. */
  readonly ended: AbortSignal;
  /**
   * Hears events; resolves when the subscription stands. One subscription per session: what else to hear beside the
   * chain goes into `follow`. @throws ModhostError MISSING_PERMISSION, STREAM_EXISTS, …
   */
  events(options: EventOptions): Promise<AsyncGenerator<EventItem, void, undefined>>;
  /** Follows the chain from a cursor; resolves when the subscription stands. @throws ModhostError CURSOR_UNKNOWN, … */
  follow(options: FollowOptions): Promise<AsyncGenerator<ChainChange, void, undefined>>;
  /**
   * Answers what the host asks of the module, from now on: health, stop, calls. Without a handler for `stop` the wish to
   * stop fires `ended`. Once per session; a lost stream is opened again. `runModule` has called it already.
   *
   * @param maxConcurrent work that the module wants to have open at a time [as much as the host allows]
   */
  serve(handlers: Handlers, maxConcurrent?: number): void;
  /** Calls another module. @throws ModuleFailure, ModhostError MODULE_UNAVAILABLE, … */
  readonly call: CallModule;
  /**
   * Offers methods to other modules, in place of what was offered before, until the session ends; calls of them come to the
   * handler for `api`. A host that begins anew is told again. @throws ModhostError MISSING_PERMISSION, INVALID_REQUEST, …
   */
  offer(api: ApiOffer): Promise<void>;
  /** Tells that the start takes longer, and moves its deadline; `percent` 0 to 100, 0 = not known. */
  starting(percent: number, message?: string): Promise<void>;
  /** Tells that the module works: REQUIRED of every module, after its subscription. Once said, again a success. */
  ready(): Promise<void>;
  /** Ends subscriptions, hands over what is left of the log and closes the connection. Idempotent. */
  close(): Promise<void>;
}

/**
 * Connects to the host that started this program and shakes hands.
 *
 * @throws ModhostError NOT_STARTED_BY_HOST, HOST_UNREACHABLE, BAD_TOKEN, VERSION_MISMATCH, PROTOCOL_UNSUPPORTED, …
 */
export async function connect(options: ConnectOptions): Promise<Module> {
  const { env = process.env, clock = createSystemClock(), random = Math.random } = options;
  const place = readEnvironment(env);
  let token = readToken(place.tokenFile);
  if (token === undefined) {
    throw new ModhostError(
      'NOT_STARTED_BY_HOST',
      `the token at ${place.tokenFile} cannot be read: it serves one start of the module, so let the host start it again`,
    );
  }
  let channel = createChannel(place.socketPath);
  let clients = createClients(channel);
  const shake = (): Promise<HandshakeAnswer> => {
    // a host that began anew has written another token; the one of before is kept where the file is gone
    token = readToken(place.tokenFile) ?? token ?? new Uint8Array(0);
    return handshake(clients.session, { token, name: place.moduleId, version: options.version });
  };
  let answer: HandshakeAnswer;
  try {
    answer = await persist(shake, clock, random);
  } catch (error) {
    channel.close();
    throw error;
  }
  const maxMessageBytes = answer.context.limits?.maxMessageBytes ?? 0;
  if (maxMessageBytes > DEFAULT_MAX_MESSAGE_BYTES) {
    channel.close();
    channel = createChannel(place.socketPath, { maxMessageBytes });
    clients = createClients(channel);
  }

  const end = new AbortController();
  /** Goes on after `end`: the answer to the wish to stop has still to leave. */
  const serveEnd = new AbortController();
  const log = createModuleLog(clients.logs, clock);
  let isReady = false;
  let owesReady = false;
  let hearsEvents = false;
  let offered: ApiOffer | undefined;
  let serving: Serving | undefined;
  let closing: Promise<void> | undefined;

  const common = { clock, random, maxOutageMs: options.maxOutageMs ?? MAX_OUTAGE_MS };
  const reopen = async (): Promise<void> => {
    answer = await shake();
    owesReady = isReady;
    if (offered !== undefined) await clients.modules.registerApi(registrationOf(offered));
  };
  /** After a handshake with a host that began anew; Ready comes after the subscription where there is one. */
  const stands = async (): Promise<void> => {
    if (!owesReady) return;
    owesReady = false;
    await clients.session.ready().catch((error: unknown) => {
      if (ModhostError.from(error).reason === 'ALREADY_READY') return;
      owesReady = true;
      throw error;
    });
  };
  const link: SubscriptionLink = {
    ...common,
    event: clients.event,
    reopen,
    stands,
    waits(error) {
      // the start deadline must not end a module that only waits for its node
      if (!isReady && error.reason.startsWith('NODE_')) {
        clients.session.starting({ message: `waiting: ${error.message}` }).catch(() => {});
      }
    },
    over: (error) => end.abort(error),
  };
  const signalOf = (own: AbortSignal | undefined): AbortSignal =>
    own === undefined ? end.signal : AbortSignal.any([own, end.signal]);

  return {
    ...clients,
    clients,
    log,
    name: place.moduleId,
    instanceId: place.instanceId,
    dataDir: place.dataDir,
    get context() {
      return answer.context;
    },
    get config() {
      return parseConfig(answer.configJson);
    },
    get configJson() {
      return answer.configJson;
    },
    ended: end.signal,
    events(wanted) {
      hearsEvents = true;
      return openEvents(link, wanted, signalOf(wanted.signal));
    },
    follow(wanted) {
      hearsEvents = true;
      return openFollow(link, clients.chain, wanted, signalOf(wanted.signal));
    },
    serve(handlers, maxConcurrent = 0) {
      if (serving !== undefined) throw new ModhostError('STREAM_EXISTS', 'the module serves invocations already');
      const stop = (): void => end.abort(new ModhostError('SESSION_CLOSED', 'the host wants the module to stop'));
      const served = {
        ...common,
        invocation: clients.invocation,
        async reopen() {
          await reopen();
          if (!hearsEvents) await stands();
        },
        over: (error: ModhostError) => end.abort(error),
      };
      serving = keepServing(served, { stop, ...handlers }, maxConcurrent, serveEnd.signal);
    },
    call: createCallModule(clients.modules),
    async offer(api) {
      await clients.modules.registerApi(registrationOf(api));
      offered = api;
    },
    async starting(percent, message = '') {
      await clients.session.starting({ progressPercent: percent, message });
    },
    async ready() {
      if (isReady) return;
      await clients.session.ready();
      isReady = true;
    },
    close() {
      closing ??= (async () => {
        await serving?.close();
        serveEnd.abort();
        end.abort(new ModhostError('CANCELLED', 'the module closed its session'));
        await log.close();
        channel.close();
      })();
      return closing;
    },
  };
}

/** The first handshake; a socket that does not answer yet is tried for a while. */
async function persist(
  shake: () => Promise<HandshakeAnswer>,
  clock: Clock,
  random: () => number,
): Promise<HandshakeAnswer> {
  const backoff = createBackoff(CONNECT_RETRY, random);
  const until = clock.monotonicMs() + CONNECT_MS;
  for (;;) {
    try {
      return await shake();
    } catch (thrown) {
      const error = ModhostError.from(thrown);
      if (error.reason !== 'HOST_UNREACHABLE' || clock.monotonicMs() > until) throw error;
      await delay(backoff.nextMs());
    }
  }
}
