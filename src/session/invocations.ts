import type { Invocation, InvocationResult } from '../../gen/ts/modhost/v1/invocation.js';

/** The work of one invocation: the oneof of `modhost.v1.Invocation`. */
export type InvocationWork = NonNullable<Invocation['work']>;
/** The answer to one invocation: the oneof of `modhost.v1.InvocationResult`. */
export type InvocationOutcome = NonNullable<InvocationResult['outcome']>;

/** How one invocation is asked. */
export interface AskOptions {
  /** Time for the answer, milliseconds. */
  readonly timeoutMs: number;
  /** Gives the work up: the module is told. */
  readonly signal?: AbortSignal;
  /** True for health checks and the wish to stop: they pass the module's own bound on open work. */
  readonly urgent?: boolean;
}

/** Work that the host hands to one module over its Serve stream. */
export interface Invocations {
  /** True while the module has its Serve stream open. */
  serving(): boolean;
  /**
   * Hands one piece of work over and waits for its answer; a `failure` outcome is an answer too.
   *
   * @throws HostError MODULE_UNAVAILABLE (no stream, or too much open), DEADLINE_EXCEEDED, CANCELLED, SESSION_CLOSED,
   *   PROTOCOL_VIOLATION (the outcome does not fit the work)
   */
  ask(work: InvocationWork, options: AskOptions): Promise<InvocationOutcome>;
}
