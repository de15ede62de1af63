import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';

/** Name of one value of the closed list in `modhost/v1/error.proto`, without its prefix. */
export type ErrorReason = Exclude<keyof typeof ReasonNumber, 'UNSPECIFIED' | 'UNRECOGNIZED'>;

/** Every reason, in the order of the contract. */
export const ERROR_REASONS: readonly ErrorReason[] = Object.keys(ReasonNumber).filter(
  (name): name is ErrorReason => name !== 'UNSPECIFIED' && name !== 'UNRECOGNIZED',
);

/** What else a HostError may carry. */
export interface HostErrorOptions {
  /** Wait before the same call may succeed, milliseconds; becomes the trailer `modhost-retry-after-ms`. */
  retryAfterMs?: number;
  /** Facts for programs and logs; never secrets. */
  details?: Readonly<Record<string, string | number | boolean | bigint>>;
  /** What caused it; logged, never sent. */
  cause?: unknown;
}

/**
 * The one error of the house: a reason of the closed list and a sentence that tells a person what to do.
 * Its gRPC status is looked up once, in ipc/status.ts.
 */
export class HostError extends Error {
  readonly reason: ErrorReason;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, string | number | boolean | bigint>>;

  constructor(reason: ErrorReason, message: string, options: HostErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'HostError';
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details ?? {};
  }

  /** The one door for foreign errors: a HostError stays itself, an abort becomes CANCELLED, the rest INTERNAL. */
  static from(error: unknown): HostError {
    if (error instanceof HostError) return error;
    if (error instanceof Error && error.name === 'AbortError') {
      return new HostError('CANCELLED', 'the call was cancelled', { cause: error });
    }
    return new HostError('INTERNAL', 'the host failed; its log has the cause', { cause: error });
  }
}

/** Throws what the signal was aborted with when that is a HostError, else CANCELLED; returns when it is not aborted. */
export function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw signal.reason instanceof HostError
    ? signal.reason
    : new HostError('CANCELLED', 'the call was cancelled', { cause: signal.reason });
}
