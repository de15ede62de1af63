import { HostError } from '../../contract/error.js';
import { nodeMethodKind } from '../../contract/node-methods.js';
import { type CallAnswer, errorAnswer, failureAnswer, type JsonPiece } from './answer.js';
import { createHostMethods, type HostMethodParts } from './host-methods.js';
import { askModule } from './module-call.js';
import { CODE, type WrittenCall } from './request.js';

/** What a node said to a call that was handed on as it came: bytes of `result` or of `error`. */
export type NodeAnswer = { readonly result: Uint8Array } | { readonly error: Uint8Array; readonly code: number };

/** What calls are answered from. */
export interface DispatchParts extends HostMethodParts {
  /** Hands a call on to the node. @throws HostError NODE_LACKS_FEATURE, NODE_UNAVAILABLE, NODE_BUSY, NODE_AUTH, … */
  handOn(method: string, params: string, signal: AbortSignal): Promise<NodeAnswer>;
  /** Hears of every call that somebody answers: what was called, by whom, about which module; never its parameters. */
  audit(method: string, user: string, module: string): void;
  isStopping(): boolean;
}

/** Answers one call; never rejects. */
export type Dispatch = (call: WrittenCall, user: string, signal: AbortSignal) => Promise<CallAnswer>;

/** Makes the one place where a method finds who answers it: the host, a module in the node's place, a module, the node. */
export function createDispatch(parts: DispatchParts): Dispatch {
  const { endpoints } = parts;
  const methods = createHostMethods(parts);
  const passthrough = new Set(parts.passthrough);

  const answer = async ({ method, params }: WrittenCall, user: string, signal: AbortSignal): Promise<CallAnswer> => {
    if (parts.isStopping()) throw new HostError('HOST_STOPPING', 'the host is stopping');
    const own = methods.get(method);
    if (own !== undefined) {
      parts.audit(method, user, own.moduleOf?.(params) ?? '');
      return { result: JSON.stringify(await own.answer(params, signal)) as JsonPiece };
    }
    const override = endpoints.override(method);
    const endpoint = override ?? endpoints.endpoint(method);
    if (endpoint !== undefined) {
      parts.audit(method, user, endpoint.module);
      return askModule(endpoint, params, override !== undefined, signal);
    }
    if (passthrough.has(method)) {
      parts.audit(method, user, '');
      return parts.handOn(method, params, signal);
    }
    return errorAnswer(CODE.METHOD_NOT_FOUND, refusalOf(method));
  };

  return async (call, user, signal) => {
    if (call.refusal !== undefined) return errorAnswer(call.refusal.code, call.refusal.message);
    try {
      return await answer(call, user, signal);
    } catch (thrown) {
      return failureAnswer(HostError.from(thrown));
    }
  };
}

/** Bitcoin Core's words first: clients know them. */
function refusalOf(method: string): string {
  switch (nodeMethodKind(method)) {
    case undefined:
      return 'Method not found';
    case 'reading':
      return `Method not found: ${method} is the node's and not handed on; the operator may name it in [rpc] passthrough`;
    default:
      return `Method not found: ${method} acts on the node or its wallet and is not handed on`;
  }
}
