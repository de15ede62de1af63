import type { Invocation, InvocationResult } from '../../gen/ts/modhost/v1/invocation.js';
import type { HostError } from '../contract/error.js';

/** The work of one invocation: the oneof of `modhost.v1.Invocation`. */
export type InvocationWork = NonNullable<Invocation['work']>;
/** The answer to one invocation: the oneof of `modhost.v1.InvocationResult`. */
export type InvocationOutcome = NonNullable<InvocationResult['outcome']>;

/** One call in a chain of calls between modules: who was called, and for what. */
export interface CallStep {
  readonly module: string;
  readonly method: string;
}

/** The calls of modules that led to a piece of work. */
export interface CallLineage {
  /** Calls on the way, that of the work itself counted: 1 for a call that no other call caused, 0 for other work. */
  readonly depth: number;
  /** Those of them that are known to have caused one another, the outermost first. */
  readonly steps: readonly CallStep[];
}

/** How one invocation is asked. */
export interface AskOptions {
  /** Time for the answer, milliseconds. */
  readonly timeoutMs: number;
  /** Gives the work up: the module is told. */
  readonly signal?: AbortSignal | undefined;
  /** True for health checks and the wish to stop: they pass the module's own bound on open work. */
  readonly urgent?: boolean;
  /** W3C trace context of the caller; default none. */
  readonly traceParent?: string;
  /** Hears that the work goes out with the next message of the stream: from here on the module may have begun it. */
  readonly onSent?: () => void;
  /** For a call by another module: how it came about. Default: no module called. */
  readonly lineage?: CallLineage;
}

/** One invocation that the module has been given and has not answered. */
export interface OpenInvocation {
  readonly kind: InvocationWork['$case'];
  readonly lineage: CallLineage;
  /** W3C trace context that it came with; empty when there was none. */
  readonly traceParent: string;
  /** Fires with a HostError once it is over: given up, past its deadline, failed or answered. */
  readonly over: AbortSignal;
  /** Milliseconds until its deadline, at least 0. */
  timeLeftMs(): number;
}

/** Work that the host hands to one module over its Serve stream. */
export interface Invocations {
  /** True while the module has its Serve stream open. */
  serving(): boolean;
  /** Invocations that wait for an answer, those that are not yet handed over among them. */
  open(): number;
  /** Calls `listener` at each opening of a Serve stream, in its very turn; the answer stops listening. */
  onServing(listener: () => void): () => void;
  /**
   * Hands one piece of work over and waits for its answer; a `failure` outcome is an answer too.
   *
   * @throws HostError MODULE_UNAVAILABLE (no stream, the stream broke, the module stops, the session ended),
   *   TOO_MANY_CALLS (too much is open), MESSAGE_TOO_LARGE, DEADLINE_EXCEEDED, CANCELLED or what the signal was aborted
   *   with, PROTOCOL_VIOLATION (the outcome does not fit the work)
   */
  ask(work: InvocationWork, options: AskOptions): Promise<InvocationOutcome>;
}

/** What goes out in one message: a `modhost.v1.ServeResponse`. */
export interface InvocationBatch {
  invocations: Invocation[];
  cancelledIds: bigint[];
}

/** The host's end of one Serve stream. The lane pulls from it as fast as its transport takes; it never waits for the lane. */
export interface InvocationStream {
  /** The next batch, at the earliest when there is something to tell; undefined once the stream has ended well. @throws what closed it */
  next(): Promise<InvocationBatch | undefined>;
  /** Bounds the work that the module wants to have open at a time; 0 = the host's bound. */
  bound(maxConcurrent: number): void;
  /** Takes answers; what was not asked on this stream, or was answered before, is ignored and counted. */
  answer(results: readonly InvocationResult[]): void;
  /** Ends it; what is open fails with MODULE_UNAVAILABLE. Without a reason it ends well. Idempotent. */
  close(why?: HostError): void;
}

/** Both ends of one session's invocations. */
export interface InvocationDesk extends Invocations {
  /** The invocation of this id on the stream that stands now, as long as it is open; undefined otherwise. */
  find(id: bigint): OpenInvocation | undefined;
  /** Depth of the deepest call by another module that the module has open; 0 when it has none. */
  deepestCall(): number;
  /** Counts a breach of the contract that an answer of this module was found to be later. */
  blame(what: string): void;
  /**
   * What the module sent was too large to be read, which ends its stream. Where only one answer can have been in it, its
   * caller is told so with MESSAGE_TOO_LARGE: a retry would break the stream again.
   */
  tooLarge(): void;
  /** Opens the stream that the module serves. @throws STREAM_EXISTS, SESSION_CLOSED */
  attach(): InvocationStream;
  /** From here on only urgent work is taken: the module is stopping. */
  retire(): void;
  /** The session has ended: nothing is taken any more, what is open fails. Idempotent. */
  close(why: HostError): void;
}
