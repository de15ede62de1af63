import type { HealthReport } from '../../gen/ts/modhost/v1/health.js';
import {
  type ApiInvocation,
  type ApiResult,
  type CliInvocation,
  type CliResult,
  type ConfigInvocation,
  type Invocation,
  type InvocationFailure,
  InvocationFailureKind,
  type InvocationResult,
  type MigrateInvocation,
  type RpcInvocation,
  type RpcResult,
  type StopInvocation,
  type TaskInvocation,
  type TimerInvocation,
} from '../../gen/ts/modhost/v1/invocation.js';
import { cancelled, ModhostError } from './error.js';

/** What a handler is told beside its work. */
export interface WorkContext {
  /** Id of the invocation: calls of other modules made for it name it, see `module.call`. */
  readonly id: bigint;
  /** Fires when the deadline has passed, the caller has gone, or the stream broke: nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** W3C trace context of the caller; empty when there is none. */
  readonly traceParent: string;
  /** Milliseconds left until the deadline, at least 0: calls made for this work should use no more. */
  timeLeftMs(): number;
}

/** Answers one kind of work. What it throws becomes a failure: an InvocationError as it says, anything else FAILED. */
export type Handler<Work, Result> = (work: Work, context: WorkContext) => Result | Promise<Result>;

/** A health report whose empty parts may be left out. */
export type OwnHealth = Pick<HealthReport, 'status'> & Partial<HealthReport>;

/** What a module does when it is asked; a kind without a handler is answered with UNSUPPORTED. */
export interface Handlers {
  /** Without it a health check is answered all the same, and says nothing but that the module lives. */
  health?: Handler<Record<string, never>, OwnHealth>;
  stop?: Handler<StopInvocation, void>;
  rpc?: Handler<RpcInvocation, RpcResult>;
  cli?: Handler<CliInvocation, CliResult>;
  api?: Handler<ApiInvocation, ApiResult>;
  timer?: Handler<TimerInvocation, void>;
  task?: Handler<TaskInvocation, void>;
  configChange?: Handler<ConfigInvocation, void>;
  migrate?: Handler<MigrateInvocation, void>;
}

/** Thrown by a handler: what the caller's side is told. */
export class InvocationError extends Error {
  readonly kind: InvocationFailureKind;
  readonly details: Partial<Omit<InvocationFailure, 'kind' | 'message'>>;

  constructor(kind: InvocationFailureKind, message: string, details: InvocationError['details'] = {}) {
    super(message);
    this.name = 'InvocationError';
    this.kind = kind;
    this.details = details;
  }
}

type Outcome = NonNullable<InvocationResult['outcome']>;
type Work = NonNullable<Invocation['work']>;

/** Carries out the work of one stream. */
export interface Worker {
  /** Begins one invocation. */
  begin(invocation: Invocation): void;
  /** Gives invocations up: their handlers hear it, and nothing is answered. */
  cancel(ids: readonly bigint[]): void;
  /** Gives up all that is under way. */
  close(): void;
  /** Resolves once nothing is under way. */
  idle(): Promise<void>;
}

/** Makes the worker of one stream; `answer` hears each result once, unless nobody waits for it any more. */
export function createWorker(handlers: Handlers, answer: (result: InvocationResult) => void): Worker {
  const running = new Map<bigint, AbortController>();
  const works = new Set<Promise<void>>();
  const run = async ({ id, work, timeoutMs, traceParent }: Invocation): Promise<void> => {
    const end = new AbortController();
    running.set(id, end);
    const until = performance.now() + timeoutMs;
    const timer = setTimeout(
      () => end.abort(new ModhostError('DEADLINE_EXCEEDED', 'the deadline of the invocation passed')),
      Math.min(timeoutMs, 2 ** 31 - 1),
    );
    const context: WorkContext = {
      id,
      signal: end.signal,
      traceParent,
      timeLeftMs: () => Math.max(0, until - performance.now()),
    };
    const outcome = await outcomeOf(handlers, work, context);
    clearTimeout(timer);
    running.delete(id);
    if (!end.signal.aborted) answer({ id, outcome });
  };
  const close = (): void => {
    for (const end of running.values()) end.abort(cancelled());
    running.clear();
  };
  return {
    begin(invocation) {
      const work = run(invocation).finally(() => works.delete(work));
      works.add(work);
    },
    cancel(ids) {
      for (const id of ids) running.get(id)?.abort(cancelled());
    },
    close,
    async idle() {
      while (works.size > 0) await Promise.all(works);
    },
  };
}

async function outcomeOf(handlers: Handlers, work: Work | undefined, context: WorkContext): Promise<Outcome> {
  try {
    return (await dispatch(handlers, work, context)) ?? failure(InvocationFailureKind.UNSUPPORTED, '');
  } catch (thrown) {
    if (thrown instanceof InvocationError) return failure(thrown.kind, thrown.message, thrown.details);
    const { message } = ModhostError.from(thrown);
    return failure(InvocationFailureKind.FAILED, message);
  }
}

/** The handler's outcome; undefined when there is no handler for this kind, or the kind is newer than these stubs. */
async function dispatch(
  handlers: Handlers,
  work: Work | undefined,
  context: WorkContext,
): Promise<Outcome | undefined> {
  const done = async <W>(handler: Handler<W, void> | undefined, value: W): Promise<Outcome | undefined> => {
    if (handler === undefined) return undefined;
    await handler(value, context);
    return { $case: 'done', value: {} };
  };
  switch (work?.$case) {
    case 'health': {
      if (handlers.health === undefined) return undefined;
      const report = await handlers.health({}, context);
      return { $case: 'health', value: { report: { message: '', checks: [], ...report } } };
    }
    case 'rpc':
      return handlers.rpc && { $case: 'rpc', value: await handlers.rpc(work.value, context) };
    case 'cli':
      return handlers.cli && { $case: 'cli', value: await handlers.cli(work.value, context) };
    case 'api':
      return handlers.api && { $case: 'api', value: await handlers.api(work.value, context) };
    case 'timer':
      return done(handlers.timer, work.value);
    case 'task':
      return done(handlers.task, work.value);
    case 'configChange':
      return done(handlers.configChange, work.value);
    case 'migrate':
      return done(handlers.migrate, work.value);
    case 'stop':
      return done(handlers.stop, work.value);
    default:
      return undefined;
  }
}

function failure(kind: InvocationFailureKind, message: string, details: InvocationError['details'] = {}): Outcome {
  return { $case: 'failure', value: { code: 0, dataJson: '', retryAfterMs: 0, ...details, kind, message } };
}
