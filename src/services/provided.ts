import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';
import type { CallFailure } from '../../gen/ts/modhost/v1/module.js';
import { type ErrorReason, HostError } from '../contract/error.js';
import type { StrictWire } from '../contract/strict-wire.js';
import { printableLine } from '../core/printable.js';
import type { CallBounds, CallRouter } from '../session/calls.js';
import type { Session } from '../session/session.js';
import { answerOf, failedCall } from './module-outcome.js';

/** Longest text of a provider that its callers are shown, characters. */
const MAX_SHOWN_CHARS = 512;
/** Reasons that a provider may give by the number of `code`; with any other one its failure is a NODE_ERROR. */
const TELLABLE: readonly ErrorReason[] = [
  ...(['INVALID_REQUEST', 'OUT_OF_RANGE', 'NOT_FOUND', 'PRECONDITION_FAILED', 'NODE_LACKS_FEATURE'] as const),
];

/** One rpc of a service that a module may answer in place of the node. */
export interface ProvidedRpc<Request, Response> {
  /** Method of the provider's API. */
  readonly method: string;
  readonly request: { encode(message: Request): { finish(): Uint8Array } };
  readonly response: { decode(bytes: Uint8Array): Response };
  /** Full name of the response's message. */
  readonly responseType: string;
  /** What is wrong with an answer; undefined when nothing is. */
  fault(response: Response, request: Request): string | undefined;
}

/** Asks the provider. @throws HostError as the services of the contract say */
export type AskProvider = <Request, Response>(
  rpc: ProvidedRpc<Request, Response>,
  request: Request,
  bounds: CallBounds,
) => Promise<Response>;

/** Who is asked, and by which way. */
export interface ProviderParts {
  /** Module that the operator names. */
  readonly provider: string;
  readonly calls: CallRouter;
  readonly wire: StrictWire;
  /** Counts an answer that broke the contract against the provider. */
  blame(what: string): void;
}

/**
 * Asks the module that the operator names as provider, in the name of the session's module. What it answers is a stranger's
 * word: it is decoded strictly and checked before anybody sees it.
 */
export function createAskProvider(session: Session, { provider, calls, wire, blame }: ProviderParts): AskProvider {
  return async (rpc, request, bounds) => {
    const rubbish = (what: string): HostError => {
      blame(`${rpc.method} was answered with ${what}`);
      return new HostError('INTERNAL', `the provider ${provider} answered with ${what}`);
    };
    const params = rpc.request.encode(request).finish();
    const call = { target: provider, method: rpc.method, params, minVersion: 0, forInvocation: 0n, asProvider: true };
    const outcome = await calls.call(session, call, bounds).catch((error: unknown) => {
      throw lacking(failedCall(error), provider);
    });
    const answer = answered(() => answerOf(outcome, provider), provider).outcome;
    if (answer?.$case === 'failure') throw reported(answer.value);
    const bytes = answer?.value ?? new Uint8Array(0);
    const response = read(rpc, bytes, wire);
    if (response === undefined) throw rubbish(`bytes that are no ${rpc.responseType}`);
    const fault = rpc.fault(response, request);
    if (fault !== undefined) throw rubbish(fault);
    return response;
  };
}

/** The answer, or undefined when the bytes are none. */
function read<Response>(
  { response, responseType }: Pick<ProvidedRpc<never, Response>, 'response' | 'responseType'>,
  bytes: Uint8Array,
  wire: StrictWire,
): Response | undefined {
  try {
    wire.assertMessage(responseType, bytes);
    return response.decode(bytes);
  } catch {
    return undefined;
  }
}

function answered<T>(work: () => T, provider: string): T {
  try {
    return work();
  } catch (error) {
    throw lacking(HostError.from(error), provider);
  }
}

/** To those who use the service it is all one whether the operator's provider is missing or lacks the method. */
function lacking(error: HostError, provider: string): HostError {
  const isMissing = error.reason === 'MODULE_NOT_FOUND' || error.reason === 'METHOD_NOT_FOUND';
  if (!isMissing) return error;
  const text = `the module that the operator names for this, ${provider}, does not answer it: ${error.message}`;
  return new HostError('NODE_LACKS_FEATURE', text, { details: { provider } });
}

function reported({ code, message, invalidParams }: CallFailure): HostError {
  const text = printableLine(message, MAX_SHOWN_CHARS);
  const told = TELLABLE.find((reason) => ReasonNumber[reason] === code);
  return new HostError(told ?? (invalidParams ? 'INVALID_REQUEST' : 'NODE_ERROR'), text);
}
