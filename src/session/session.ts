import { createHash, timingSafeEqual } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { HostError } from '../contract/error.js';
import { negotiateProtocol } from '../contract/protocol.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { createPace, type Pace } from '../core/pace.js';
import type { Grants } from './grants.js';
import { createInvocationDesk } from './invocation-desk.js';
import type { InvocationDesk } from './invocations.js';
import type { CallQuota } from './quota.js';

/** Length of a spawn's token. */
export const TOKEN_BYTES = 32;
/** Wrong tokens after which every connection of the spawn is closed. */
export const MAX_TOKEN_MISSES = 3;

/** Where a session stands: waiting for its handshake, open, ready to be announced, or over. */
export type SessionState = 'waiting' | 'open' | 'ready' | 'closed';

/** What a module claims in its handshake. */
export interface HandshakeClaims {
  token: Uint8Array;
  moduleName: string;
  moduleVersion: string;
  protocolMin: number;
  protocolMax: number;
  sdk: string;
}

/** Who the session belongs to; known to the host, never taken from what the module says. */
export interface SessionIdentity {
  readonly moduleId: string;
  readonly instanceId: string;
  readonly version: string;
}

/** What the supervisor hears of a session. */
export interface SessionListener {
  opened(claims: HandshakeClaims): void;
  /** The module is still working on its start; `percent` 0 to 100, 0 also when it cannot tell. */
  starting(percent: number, message: string): void;
  ready(): void;
  /** A handshake was refused, with what the module was told. */
  refused?(error: HostError): void;
  /** Too many wrong tokens, told again for each one more: somebody else is on the socket. */
  suspicious(misses: number): void;
}

/** One spawn's place at the host, from its socket to its end. */
export interface Session {
  readonly identity: SessionIdentity;
  readonly grants: Grants;
  readonly quota: CallQuota;
  /** What the module's large messages and log records have of the event loop. */
  readonly pace: Pace;
  readonly log: Logger;
  /** Work that the host hands to the module, and the stream that the module serves. */
  readonly invocations: InvocationDesk;
  /** Aborted, with a HostError as reason, when the session ends. */
  readonly ended: AbortSignal;
  state(): SessionState;
  /** Protocol version settled by the handshake; 0 before. */
  protocolVersion(): number;
  /** Breaches of the rules of a stream, and wrong tokens. */
  violations(): number;
  /** @throws BAD_TOKEN, IDENTITY_MISMATCH, VERSION_MISMATCH, PROTOCOL_UNSUPPORTED, SESSION_CLOSED */
  handshake(claims: HandshakeClaims): void;
  /** @throws HANDSHAKE_REQUIRED, ALREADY_READY */
  starting(percent: number, message: string): void;
  /** Running = Ready. @throws HANDSHAKE_REQUIRED, ALREADY_READY */
  ready(): void;
  /** Ends the session: grants are gone at once, running calls end with this error. Idempotent. */
  close(why: HostError): void;
}

/** What a session is made of. */
export interface SessionOptions {
  identity: SessionIdentity;
  token: Uint8Array;
  grants: Grants;
  quota: CallQuota;
  listener: SessionListener;
  clock: Clock;
  log: Logger;
}

/** Makes a session that waits for its handshake. */
export function createSession(options: SessionOptions): Session {
  const { identity, grants, listener } = options;
  const expected = digest(options.token);
  const end = new AbortController();
  // every call in flight listens; the session bounds them, so Node's warning of a leak at eleven would be wrong
  setMaxListeners(0, end.signal);
  let state: SessionState = 'waiting';
  let protocol = 0;
  let misses = 0;
  let breaches = 0;
  const invocations = createInvocationDesk({
    moduleId: identity.moduleId,
    clock: options.clock,
    onViolation(what) {
      breaches += 1;
      if (isWorthTelling(breaches)) options.log.warn({ reason: 'PROTOCOL_VIOLATION', count: breaches }, what);
    },
  });

  const assertAlive = (): void => {
    if (state === 'closed') throw end.signal.reason as HostError;
  };
  const assertOpen = (): void => {
    assertAlive();
    if (state === 'waiting') throw new HostError('HANDSHAKE_REQUIRED', 'call SessionService.Handshake first');
  };

  const shake = (claims: HandshakeClaims): void => {
    assertAlive();
    // digests have one length, so the comparison takes the same time whatever was sent
    if (!timingSafeEqual(digest(claims.token), expected)) {
      misses += 1;
      if (misses <= MAX_TOKEN_MISSES || isWorthTelling(misses)) {
        options.log.warn({ misses, tokenBytes: claims.token.byteLength }, 'handshake with a wrong token');
      }
      if (misses >= MAX_TOKEN_MISSES) listener.suspicious(misses);
      throw new HostError('BAD_TOKEN', 'the token is not the one of this spawn; read MODHOST_TOKEN_FILE');
    }
    if (claims.moduleName !== identity.moduleId) {
      throw new HostError('IDENTITY_MISMATCH', `this socket belongs to module ${identity.moduleId}`);
    }
    if (claims.moduleVersion !== identity.version) {
      throw new HostError('VERSION_MISMATCH', `the manifest says version ${identity.version}`);
    }
    const settled = negotiateProtocol(claims.protocolMin, claims.protocolMax);
    // repeated, it is harmless: what was settled stays
    if (state !== 'waiting') return;
    protocol = settled;
    state = 'open';
    listener.opened(claims);
  };

  return {
    identity,
    grants,
    quota: options.quota,
    pace: createPace(),
    log: options.log,
    invocations,
    ended: end.signal,
    state: () => state,
    protocolVersion: () => protocol,
    violations: () => misses + breaches,
    handshake(claims) {
      try {
        shake(claims);
      } catch (error) {
        listener.refused?.(HostError.from(error));
        throw error;
      }
    },
    starting(percent, message) {
      assertOpen();
      if (state === 'ready') throw new HostError('ALREADY_READY', 'the module has said that it is ready');
      listener.starting(percent, message);
    },
    ready() {
      assertOpen();
      if (state === 'ready') throw new HostError('ALREADY_READY', 'the module has said that it is ready');
      state = 'ready';
      listener.ready();
    },
    close(why) {
      if (state === 'closed') return;
      state = 'closed';
      invocations.close(why);
      end.abort(why);
      grants.withdrawAll();
    },
  };
}

/** One that goes on and on must not write the log full: the first is told, the second, the fourth, the eighth. */
function isWorthTelling(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}

function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
