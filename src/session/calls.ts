import { HostError } from '../contract/error.js';
import { moduleNotFound } from '../contract/module-not-found.js';
import { permissionNumber } from '../contract/permission.js';
import { nearest } from '../core/nearest.js';
import type { CallLineage, InvocationOutcome, OpenInvocation } from './invocations.js';
import type { Session } from './session.js';

/** Most calls of modules that may cause one another; `Limits.max_call_depth`. */
export const MAX_CALL_DEPTH = 8;

/** What a module offers to others, until it takes it back or its session ends. */
export interface ApiOffer {
  readonly methods: ReadonlySet<string>;
  /** 1 or higher. */
  readonly version: number;
  /** Names of modules that may call; undefined: all that hold the permission. */
  readonly callers: ReadonlySet<string> | undefined;
}

/** Where a module stands for those who want to call it. */
export type CallPlace =
  /** It runs: `callers` are those that the operator lets call, undefined: he says nothing of it. */
  | { readonly kind: 'open'; readonly session: Session; readonly callers: ReadonlySet<string> | undefined }
  /** It is known and cannot be called now, as the words say; it may be after a while. */
  | { readonly kind: 'away'; readonly words: string; readonly retryAfterMs: number }
  /** It is known and nobody has loaded it. */
  | { readonly kind: 'unloaded' };

/** The modules of a host, as far as calls need them. */
export interface CallPlaces {
  /** Undefined when the host knows no such module. */
  find(module: string): CallPlace | undefined;
  names(): Iterable<string>;
}

/** One call as its caller words it; nothing in it is believed beyond what it asks for. */
export interface ModuleCall {
  readonly target: string;
  readonly method: string;
  readonly params: Uint8Array;
  /** 0 = any. */
  readonly minVersion: number;
  /** Id of the caller's own open invocation that the call is made for; 0n = none. */
  readonly forInvocation: bigint;
  /** True for a service that the operator has given to the target: whom it serves is not the target's choice then. */
  readonly asProvider?: boolean;
}

/** How long a call may take and what ends it, as the guard admitted it. */
export interface CallBounds {
  readonly signal: AbortSignal;
  timeLeftMs(): number;
}

/** Carries the calls of modules to one another: one per host. */
export interface CallRouter {
  /** Takes what a session offers, in place of what it offered before; it ends with the session or its permission. */
  offer(session: Session, offer: ApiOffer): void;
  /** Takes the session's offer back; calls in flight are finished. False when there was none. */
  withdraw(session: Session): boolean;
  /** What the module offers now. */
  offerOf(module: string): ApiOffer | undefined;
  /**
   * Hands one call to its target and waits for the answer, which may be a failure.
   *
   * @throws HostError INVALID_REQUEST, CALL_DEPTH, MODULE_NOT_FOUND, MODULE_UNAVAILABLE, METHOD_NOT_FOUND, INCOMPATIBLE,
   *   CALLER_NOT_ALLOWED, TOO_MANY_CALLS, MESSAGE_TOO_LARGE, DEADLINE_EXCEEDED, CANCELLED or what ended the call,
   *   PROTOCOL_VIOLATION
   */
  call(caller: Session, call: ModuleCall, bounds: CallBounds): Promise<InvocationOutcome>;
  /** Offers and calls that are kept at this moment. */
  counts(): { readonly offers: number; readonly calls: number };
}

/** Makes the router of a host. */
export function createCallRouter(places: CallPlaces): CallRouter {
  const offers = new Map<string, { session: Session; offer: ApiOffer; forget: () => void }>();
  let running = 0;

  const withdraw = (session: Session): boolean => {
    const { moduleId } = session.identity;
    const held = offers.get(moduleId);
    // a successor of the same name has an offer of its own
    if (held?.session !== session) return false;
    offers.delete(moduleId);
    held.forget();
    return true;
  };
  const offerOf = (module: string): ApiOffer | undefined => offers.get(module)?.offer;

  return {
    offer(session, offer) {
      withdraw(session);
      if (session.ended.aborted) throw session.ended.reason as HostError;
      const end = (): void => void withdraw(session);
      session.ended.addEventListener('abort', end, { once: true });
      const unwatch = session.grants.onWithdraw('REGISTER_MODULE_API', end);
      offers.get(session.identity.moduleId)?.forget();
      offers.set(session.identity.moduleId, {
        session,
        offer,
        forget() {
          session.ended.removeEventListener('abort', end);
          unwatch();
        },
      });
    },
    withdraw,
    offerOf,
    async call(caller, call, bounds) {
      const cause = causeOf(caller, call.forInvocation);
      const lineage = lineageOf(caller, call, cause);
      const place = placeOf(places, call.target);
      const { session } = place;
      const held = offers.get(call.target);
      assertOffered(caller.identity.moduleId, call, place, held?.session === session ? held.offer : undefined);
      const signal = cause === undefined ? bounds.signal : AbortSignal.any([bounds.signal, causeSignal(cause)]);
      running += 1;
      try {
        return await session.invocations.ask(
          {
            $case: 'api',
            value: {
              method: call.method,
              params: call.params,
              caller: caller.identity.moduleId,
              callerVersion: caller.identity.version,
              callerGranted: caller.grants.list().map(permissionNumber),
              depth: lineage.depth,
            },
          },
          {
            timeoutMs: Math.min(bounds.timeLeftMs(), cause?.timeLeftMs() ?? Number.POSITIVE_INFINITY),
            signal,
            traceParent: cause?.traceParent ?? '',
            lineage,
          },
        );
      } finally {
        running -= 1;
      }
    },
    counts: () => ({ offers: offers.size, calls: running }),
  };
}

/** The invocation that the call is made for. @throws INVALID_REQUEST when it is not open */
function causeOf(caller: Session, id: bigint): OpenInvocation | undefined {
  if (id === 0n) return undefined;
  const cause = caller.invocations.find(id);
  if (cause === undefined) {
    throw new HostError('INVALID_REQUEST', `for_invocation ${id} is not open on the Serve stream of the caller`);
  }
  return cause;
}

/** Place of the call in the chain of those that caused it. @throws CALL_DEPTH */
function lineageOf(caller: Session, { target, method }: ModuleCall, cause: OpenInvocation | undefined): CallLineage {
  if (target === caller.identity.moduleId) throw new HostError('CALL_DEPTH', 'a module cannot call itself');
  const before = cause?.lineage.steps ?? [];
  // without a word of the caller nobody knows which of its invocations caused the call: the depth is of the deepest, and
  // what that one is part of is not held against the call as a circle
  const depth = (cause?.lineage.depth ?? caller.invocations.deepestCall()) + 1;
  const steps = [...before, { module: target, method }];
  const chain = (): string => steps.map((step) => `${step.module}.${step.method}`).join(' > ');
  if (before.some((step) => step.module === target && step.method === method)) {
    throw new HostError('CALL_DEPTH', `the calls go in a circle: ${chain()}`, { details: { chain: chain() } });
  }
  if (depth > MAX_CALL_DEPTH) {
    throw new HostError('CALL_DEPTH', `the chain of calls is deeper than ${MAX_CALL_DEPTH}: ${chain()}`, {
      details: { depth, chain: chain() },
    });
  }
  return { depth, steps };
}

function placeOf(places: CallPlaces, target: string): Extract<CallPlace, { kind: 'open' }> {
  const place = places.find(target);
  switch (place?.kind) {
    case 'open':
      return place;
    case 'away':
      throw new HostError('MODULE_UNAVAILABLE', `${target} is ${place.words}`, { retryAfterMs: place.retryAfterMs });
    case 'unloaded':
      throw new HostError('MODULE_NOT_FOUND', `${target} is not loaded`);
    default:
      throw moduleNotFound(target, places.names());
  }
}

/** @throws CALLER_NOT_ALLOWED, INCOMPATIBLE, METHOD_NOT_FOUND */
function assertOffered(
  caller: string,
  { target, method, minVersion, asProvider = false }: ModuleCall,
  place: Extract<CallPlace, { kind: 'open' }>,
  offer: ApiOffer | undefined,
): void {
  if (offer === undefined) throw new HostError('METHOD_NOT_FOUND', `${target} offers no API now`);
  const isAllowed = [offer.callers, place.callers].every((callers) => callers?.has(caller) ?? true);
  if (!isAllowed && !asProvider) {
    throw new HostError('CALLER_NOT_ALLOWED', `${target} does not take calls of ${caller}`);
  }
  if (offer.version < minVersion) {
    throw new HostError('INCOMPATIBLE', `the API of ${target} has version ${offer.version}, not ${minVersion}`, {
      details: { version: offer.version },
    });
  }
  if (offer.methods.has(method)) return;
  const near = nearest(method, offer.methods);
  throw new HostError(
    'METHOD_NOT_FOUND',
    `${target} offers no such method${near === undefined ? '' : `; did you mean ${near}?`}`,
  );
}

/** Fires when the invocation is over, with the deadline's reason where that was it and with CANCELLED otherwise. */
function causeSignal({ over }: OpenInvocation): AbortSignal {
  const end = new AbortController();
  const pass = (): void => {
    const why = HostError.from(over.reason);
    const words = 'the invocation for whose sake the call was made is over';
    end.abort(why.reason === 'DEADLINE_EXCEEDED' ? why : new HostError('CANCELLED', words, { cause: why }));
  };
  if (over.aborted) pass();
  else over.addEventListener('abort', pass, { once: true });
  return end.signal;
}
