import { type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { ErrorReason } from '../contract/error.js';

/** Trailer with the reason, a name of the closed list. */
const REASON_TRAILER = 'modhost-reason';
/** Trailer with the wait before a retry, decimal milliseconds. */
const RETRY_AFTER_TRAILER = 'modhost-retry-after-ms';

/**
 * Reasons that no host sends, because there was none to answer: the socket does not answer, or the program was not
 * started by a host.
 */
export type ClientReason = 'HOST_UNREACHABLE' | 'NOT_STARTED_BY_HOST';

/** Why a call failed. A newer host may send a name that this list does not have. */
export type ModhostReason = ErrorReason | ClientReason;

/** What a failed call, stream or connection gives a module: decide by `reason`, show `message`. */
export class ModhostError extends Error {
  readonly reason: ModhostReason;
  /** gRPC status code. */
  readonly code: status;
  /** Wait before the same call may succeed, milliseconds; undefined when a retry does not help or nobody knows. */
  readonly retryAfterMs: number | undefined;

  constructor(
    reason: ModhostReason,
    message: string,
    options: { code?: status; retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ModhostError';
    this.reason = reason;
    this.code = options.code ?? status.UNKNOWN;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The one door for foreign errors: a gRPC status becomes its reason, an abort CANCELLED, the rest INTERNAL. */
  static from(error: unknown): ModhostError {
    if (error instanceof ModhostError) return error;
    if (isServiceError(error)) return fromStatus(error);
    if (error instanceof Error && error.name === 'AbortError') return cancelled(error);
    const message = error instanceof Error ? error.message : String(error);
    return new ModhostError('INTERNAL', message, { code: status.INTERNAL, cause: error });
  }
}

/** The error of a call that its own caller gave up. */
export function cancelled(cause?: unknown): ModhostError {
  return new ModhostError('CANCELLED', 'the call was cancelled', { code: status.CANCELLED, cause });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && 'details' in error;
}

function fromStatus(error: ServiceError): ModhostError {
  // an error that grpc-js makes before it has a call carries no metadata, whatever its type says
  const trailers = error.metadata as Metadata | undefined;
  const told = trailers?.get(REASON_TRAILER)[0];
  const wait = Number(trailers?.get(RETRY_AFTER_TRAILER)[0]);
  return new ModhostError(told === undefined ? reasonOf(error.code) : (String(told) as ModhostReason), error.details, {
    code: error.code,
    retryAfterMs: Number.isFinite(wait) ? wait : undefined,
    cause: error,
  });
}

/** Reason of a status without one, which the transport made at this end. */
function reasonOf(code: status): ModhostReason {
  switch (code) {
    case status.CANCELLED:
      return 'CANCELLED';
    case status.DEADLINE_EXCEEDED:
      return 'DEADLINE_EXCEEDED';
    case status.RESOURCE_EXHAUSTED:
      return 'MESSAGE_TOO_LARGE';
    case status.UNIMPLEMENTED:
      return 'UNKNOWN_METHOD';
    case status.UNAVAILABLE:
      return 'HOST_UNREACHABLE';
    default:
      return 'INTERNAL';
  }
}
