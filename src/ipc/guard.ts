import { type ErrorReason, HostError } from '../contract/error.js';
import type { MethodFacts } from '../contract/methods.js';
import type { Permission } from '../contract/permission.js';
import type { Clock } from '../core/clock.js';
import type { Session } from '../session/session.js';

/** Most metadata that a call may carry, names and values together. */
export const MAX_METADATA_BYTES = 8 * 1024;
/** Deadline of a unary call that brings none. */
export const DEFAULT_DEADLINE_MS = 10_000;
/** Longest deadline of a unary call; a longer one is shortened. */
export const MAX_DEADLINE_MS = 300_000;

/** One decision of the guard, for the audit. */
export interface GuardDecision {
  moduleId: string;
  instanceId: string;
  method: string;
  permission: Permission | 'NONE';
  allowed: boolean;
  /** Reason of the refusal. */
  reason?: ErrorReason;
}

/** What arrives at the guard. */
export interface Arrival {
  facts: MethodFacts;
  metadataBytes: number;
  /** Unix milliseconds, or Infinity. */
  deadlineUnixMs: number;
}

/** A call that may run. */
export interface Admission {
  /** Fires with a HostError when the call must stop. */
  readonly signal: AbortSignal;
  timeLeftMs(): number;
  /** Stops the call's work: the caller is gone. */
  cancel(): void;
  /** Gives back what the call held; call it exactly when the answer is out. */
  release(): void;
}

/** The one check in front of every rpc, whatever lane it came by. */
export interface Guard {
  /** @throws HANDSHAKE_REQUIRED, SESSION_CLOSED, MISSING_PERMISSION, METADATA_TOO_LARGE, RATE_LIMITED, TOO_MANY_CALLS */
  admit(arrival: Arrival): Admission;
}

/**
 * Makes the guard of one session.
 *
 * @param defaultDeadlineMs deadline of a unary call that brings none
 */
export function createGuard(
  session: Session,
  clock: Clock,
  audit: (decision: GuardDecision) => void,
  defaultDeadlineMs: number = DEFAULT_DEADLINE_MS,
): Guard {
  const check = ({ facts, metadataBytes }: Arrival): void => {
    if (session.ended.aborted) throw session.ended.reason as HostError;
    if (session.state() === 'waiting' && !facts.beforeHandshake) {
      throw new HostError('HANDSHAKE_REQUIRED', 'call SessionService.Handshake first');
    }
    if (facts.permission !== 'NONE' && !session.grants.has(facts.permission)) {
      throw new HostError(
        'MISSING_PERMISSION',
        `${facts.name} needs the permission ${facts.permission.toLowerCase()}`,
        {
          details: { permission: facts.permission.toLowerCase(), method: facts.path },
        },
      );
    }
    if (metadataBytes > MAX_METADATA_BYTES) {
      throw new HostError('METADATA_TOO_LARGE', `metadata of a call is at most ${MAX_METADATA_BYTES} bytes`);
    }
  };
  return {
    admit(arrival) {
      const { facts } = arrival;
      const decision = {
        moduleId: session.identity.moduleId,
        instanceId: session.identity.instanceId,
        method: facts.path,
        permission: facts.permission,
      };
      let leave: () => void;
      try {
        check(arrival);
        leave = session.quota.enter(facts.weight);
      } catch (error) {
        audit({ ...decision, allowed: false, reason: HostError.from(error).reason });
        throw error;
      }
      audit({ ...decision, allowed: true });
      const limitMs = deadlineMs(facts, arrival.deadlineUnixMs - clock.unixMs(), defaultDeadlineMs);
      return createAdmission(session, facts, limitMs, clock, leave);
    },
  };
}

function createAdmission(
  session: Session,
  facts: MethodFacts,
  limitMs: number,
  clock: Clock,
  leave: () => void,
): Admission {
  const controller = new AbortController();
  const stop = (error: HostError): void => controller.abort(error);
  const cleanups: (() => void)[] = [leave];

  const onEnd = (): void => stop(session.ended.reason as HostError);
  session.ended.addEventListener('abort', onEnd, { once: true });
  cleanups.push(() => session.ended.removeEventListener('abort', onEnd));

  const { permission } = facts;
  if (permission !== 'NONE') {
    cleanups.push(
      session.grants.onWithdraw(permission, () =>
        stop(new HostError('PERMISSION_WITHDRAWN', `the operator took back ${permission.toLowerCase()}`)),
      ),
    );
  }

  const end = clock.monotonicMs() + limitMs;
  if (Number.isFinite(limitMs)) {
    const timer = setTimeout(
      () => stop(new HostError('DEADLINE_EXCEEDED', 'the deadline of the call passed')),
      limitMs,
    );
    cleanups.push(() => clearTimeout(timer));
  }
  return {
    signal: controller.signal,
    timeLeftMs: () => Math.max(0, end - clock.monotonicMs()),
    cancel: () => stop(new HostError('CANCELLED', 'the caller cancelled')),
    release() {
      for (const cleanup of cleanups.splice(0)) cleanup();
    },
  };
}

/** Streams run as long as both sides want; every other call has an end. */
function deadlineMs(facts: MethodFacts, asked: number, defaultMs: number): number {
  if (facts.requestStream || facts.responseStream) return Number.isFinite(asked) ? clamp(asked, 2 ** 31 - 1) : Infinity;
  return Number.isFinite(asked) ? clamp(asked, MAX_DEADLINE_MS) : defaultMs;
}

function clamp(ms: number, max: number): number {
  return Math.min(max, Math.max(0, ms));
}
