import type { ApiInvocation, Invocation } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { PERMISSIONS, type Permission } from '../../src/contract/permission.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { type CallPlace, type CallRouter, createCallRouter, type ModuleCall } from '../../src/session/calls.js';
import { createGrants } from '../../src/session/grants.js';
import type { InvocationOutcome, InvocationStream } from '../../src/session/invocations.js';
import { createCallQuota } from '../../src/session/quota.js';
import { createSession, type Session } from '../../src/session/session.js';

const CLOCK = createSystemClock();

/** What a module in this process is asked, and how it answers. */
export interface Asked extends ApiInvocation {
  readonly id: bigint;
  readonly timeoutMs: number;
  readonly traceParent: string;
  /** Fires when the host takes the work back. */
  readonly cancelled: AbortSignal;
}

/** A module in this process, over a real session: its end of the Serve stream. */
export interface Actor {
  readonly name: string;
  session: Session;
  stream: InvocationStream;
  readonly asked: Asked[];
  violations(): number;
  /** Opens the session anew, or for the first time. */
  open(): void;
  answer(id: bigint, outcome: InvocationOutcome | undefined): void;
  offer(methods: readonly string[], more?: { version?: number; callers?: readonly string[] }): void;
  call(target: string, method: string, more?: Partial<ModuleCall> & CallTimes): Promise<InvocationOutcome>;
}

export interface CallTimes {
  signal?: AbortSignal;
  timeoutMs?: number;
}

/** Modules that call one another through a real router, without processes. */
export interface CallWorld {
  readonly router: CallRouter;
  /** Where a module stands, when it is not open. */
  readonly places: Map<string, CallPlace>;
  actor(name: string, onAsked?: (actor: Actor, asked: Asked) => void): Actor;
  actors(): Actor[];
  close(): void;
}

export const EMPTY = new Uint8Array(0);
export const result = (bytes = EMPTY): InvocationOutcome => ({ $case: 'api', value: { result: bytes } });
export const over = (): HostError => new HostError('SESSION_CLOSED', 'the module has ended');

/** The reason of a refusal, or `OK`. */
export const reason = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => HostError.from(error).reason,
  );

export function createCallWorld(): CallWorld {
  const actors = new Map<string, Actor>();
  const places = new Map<string, CallPlace>();
  const router = createCallRouter({
    names: () => [...actors.keys(), ...places.keys()],
    find(name) {
      const actor = actors.get(name);
      return places.get(name) ?? (actor && { kind: 'open', session: actor.session, callers: undefined });
    },
  });
  return {
    router,
    places,
    actors: () => [...actors.values()],
    actor(name, onAsked = () => {}) {
      let breaches = 0;
      const actor: Actor = {
        name,
        session: undefined as never,
        stream: undefined as never,
        asked: [],
        violations: () => breaches + actor.session.violations(),
        open() {
          breaches += (actor.session as Session | undefined)?.violations() ?? 0;
          actor.session = newSession(name, PERMISSIONS);
          actor.stream = actor.session.invocations.attach();
          void pull(actor, onAsked);
        },
        answer: (id, outcome) => actor.stream.answer([{ id, outcome }]),
        offer(methods, { version = 1, callers } = {}) {
          router.offer(actor.session, {
            methods: new Set(methods),
            version,
            callers: callers === undefined ? undefined : new Set(callers),
          });
        },
        call(target, method, { signal = new AbortController().signal, timeoutMs = 5_000, ...more } = {}) {
          const until = CLOCK.monotonicMs() + timeoutMs;
          return router.call(
            actor.session,
            { target, method, params: EMPTY, minVersion: 0, forInvocation: 0n, ...more },
            // as the guard does it: the end of the session ends the call
            {
              signal: AbortSignal.any([signal, actor.session.ended]),
              timeLeftMs: () => Math.max(0, until - CLOCK.monotonicMs()),
            },
          );
        },
      };
      actors.set(name, actor);
      actor.open();
      return actor;
    },
    close() {
      for (const { session } of actors.values()) session.close(over());
    },
  };
}

function newSession(moduleId: string, permissions: readonly Permission[]): Session {
  return createSession({
    identity: { moduleId, instanceId: `${moduleId}-1`, version: '1.2.3' },
    token: new Uint8Array(32),
    grants: createGrants(permissions),
    quota: createCallQuota({ ratePerSecond: 1e6, burst: 1e6, maxInFlight: 1e6 }, CLOCK),
    listener: { opened() {}, starting() {}, ready() {}, suspicious() {} },
    clock: CLOCK,
    log: createSilentLogger(),
  });
}

async function pull(actor: Actor, onAsked: (actor: Actor, asked: Asked) => void): Promise<void> {
  const { stream } = actor;
  const ends = new Map<bigint, AbortController>();
  try {
    for (;;) {
      const batch = await stream.next();
      if (batch === undefined) return;
      for (const id of batch.cancelledIds) ends.get(id)?.abort();
      for (const invocation of batch.invocations) take(actor, invocation, ends, onAsked);
    }
  } catch {
    // the stream was closed with a reason: its module hears it in its own calls
  } finally {
    for (const end of ends.values()) end.abort();
  }
}

function take(
  actor: Actor,
  { id, timeoutMs, traceParent, work }: Invocation,
  ends: Map<bigint, AbortController>,
  onAsked: (actor: Actor, asked: Asked) => void,
): void {
  if (work?.$case !== 'api') throw new Error(`asked for ${work?.$case}`);
  const end = new AbortController();
  ends.set(id, end);
  const asked: Asked = { ...work.value, id, timeoutMs, traceParent, cancelled: end.signal };
  actor.asked.push(asked);
  onAsked(actor, asked);
}
