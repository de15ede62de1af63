import { type InvocationFailure, InvocationFailureKind } from '../../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../contract/error.js';
import type { Endpoint } from '../../session/endpoint-book.js';
import { type CallAnswer, errorAnswer, failureAnswer } from './answer.js';
import { CODE } from './request.js';

/** Asks the module that answers a method, and waits as long as it has promised. @throws HostError as `Invocations.ask` */
export async function askModule(
  endpoint: Endpoint,
  params: string,
  coreOverride: boolean,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { method, timeoutMs, module, invocations } = endpoint;
  const outcome = await invocations.ask(
    { $case: 'rpc', value: { method, paramsJson: params, coreOverride } },
    { timeoutMs, signal },
  );
  if (outcome.$case === 'rpc') return { result: outcome.value.resultJson };
  if (outcome.$case === 'failure') return moduleFailure(module, method, outcome.value);
  throw new HostError('PROTOCOL_VIOLATION', `${module} gave no answer to a JSON-RPC call`);
}

/** What a caller sees of a module's failure; its `data` goes through byte for byte. */
function moduleFailure(module: string, method: string, failure: InvocationFailure): CallAnswer {
  const { kind, code, message, dataJson, retryAfterMs } = failure;
  const data = dataJson === '' ? undefined : dataJson;
  const text = message === '' ? `${module} could not answer ${method}` : message;
  switch (kind) {
    case InvocationFailureKind.METHOD_NOT_FOUND:
    case InvocationFailureKind.UNSUPPORTED:
      return errorAnswer(CODE.METHOD_NOT_FOUND, text, data);
    case InvocationFailureKind.INVALID_PARAMS:
      return errorAnswer(CODE.INVALID_PARAMS, text, data);
    case InvocationFailureKind.CALLER_NOT_ALLOWED:
      return failureAnswer(new HostError('CALLER_NOT_ALLOWED', text));
    case InvocationFailureKind.BUSY:
      return failureAnswer(new HostError('MODULE_UNAVAILABLE', text, retryAfterMs === 0 ? {} : { retryAfterMs }));
    case InvocationFailureKind.CANCELLED:
      return failureAnswer(new HostError('CANCELLED', text));
    default:
      return errorAnswer(code === 0 ? CODE.INTERNAL : code, text, data);
  }
}
