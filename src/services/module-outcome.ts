import { InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import type { CallResponse } from '../../gen/ts/modhost/v1/module.js';
import { HostError } from '../contract/error.js';
import type { InvocationOutcome } from '../session/invocations.js';

/** A busy module that names no time is asked again after this one, milliseconds. */
const BUSY_RETRY_MS = 100;
/** Longest time that a busy module can have its callers wait, milliseconds: what it says is not believed beyond that. */
const MAX_BUSY_RETRY_MS = 60_000;

/**
 * The answer to a call from what the called module has said.
 *
 * @param called the module, as messages name it
 * @throws HostError METHOD_NOT_FOUND, CALLER_NOT_ALLOWED, MODULE_UNAVAILABLE, CANCELLED for the failures that are no matter
 *   between the two modules, INTERNAL for an outcome that is none of a call
 */
export function answerOf(outcome: InvocationOutcome, called: string): CallResponse {
  if (outcome.$case === 'api') return { outcome: { $case: 'result', value: outcome.value.result } };
  if (outcome.$case !== 'failure') throw new HostError('INTERNAL', `${called} answered with something else`);
  const { kind, code, message, retryAfterMs } = outcome.value;
  switch (kind) {
    case InvocationFailureKind.UNSUPPORTED:
    case InvocationFailureKind.METHOD_NOT_FOUND:
      throw new HostError('METHOD_NOT_FOUND', `${called} does not answer this method`);
    case InvocationFailureKind.CALLER_NOT_ALLOWED:
      throw new HostError('CALLER_NOT_ALLOWED', `${called} does not serve this caller`);
    case InvocationFailureKind.BUSY:
      throw new HostError('MODULE_UNAVAILABLE', `${called} has too much to do`, {
        retryAfterMs: Math.min(retryAfterMs === 0 ? BUSY_RETRY_MS : retryAfterMs, MAX_BUSY_RETRY_MS),
      });
    case InvocationFailureKind.CANCELLED:
      throw new HostError('CANCELLED', `${called} has given the call up`);
    default: {
      const invalidParams = kind === InvocationFailureKind.INVALID_PARAMS;
      return { outcome: { $case: 'failure', value: { code, message, invalidParams } } };
    }
  }
}

/** What a failed call is to its caller: that the called module broke the contract is nothing that the caller can mend. */
export function failedCall(error: unknown): HostError {
  const failed = HostError.from(error);
  return failed.reason === 'PROTOCOL_VIOLATION'
    ? new HostError('INTERNAL', 'the called module broke the contract', { cause: failed })
    : failed;
}
