import type { ErrorReason, HostError } from '../../contract/error.js';
import { printableLine } from '../../core/printable.js';
import { CODE, type WrittenCall } from './request.js';

/** JSON as text, or as the bytes that somebody else has written. */
export type JsonPiece = string | Uint8Array;

/** What became of one call; an error is the whole error object. */
export type CallAnswer = { readonly result: JsonPiece } | { readonly error: JsonPiece; readonly code: number };

/** Longest message of an error of the host's own, characters. */
const MAX_MESSAGE_CHARS = 1_024;

/**
 * Codes of the host's own errors, for those that have a word in JSON-RPC or in Bitcoin Core (src/rpc/protocol.h); -32000 to
 * -32099 are the protocol's range for servers. The reason stands in `data` with each.
 */
const CODES: Partial<Record<ErrorReason, number>> = {
  INTERNAL: CODE.INTERNAL,
  PROTOCOL_VIOLATION: CODE.INTERNAL,
  METHOD_NOT_FOUND: CODE.METHOD_NOT_FOUND,
  UNKNOWN_METHOD: CODE.METHOD_NOT_FOUND,
  NOT_YET_SERVED: CODE.METHOD_NOT_FOUND,
  NODE_LACKS_FEATURE: CODE.METHOD_NOT_FOUND,
  INVALID_REQUEST: CODE.INVALID_PARAMS,
  FIELD_REQUIRED: CODE.INVALID_PARAMS,
  OUT_OF_RANGE: CODE.INVALID_PARAMS,
  UNKNOWN_ENUM: CODE.INVALID_PARAMS,
  MESSAGE_TOO_LARGE: CODE.INVALID_PARAMS,
  // RPC_INVALID_ADDRESS_OR_KEY: what Bitcoin Core says of whatever is not there
  MODULE_NOT_FOUND: -5,
  NOT_FOUND: -5,
  // RPC_CLIENT_NOT_CONNECTED
  NODE_UNAVAILABLE: -9,
  // RPC_IN_WARMUP
  NODE_SYNCING: -28,
  HOST_STOPPING: -28,
  MODULE_UNAVAILABLE: -32000,
  TOO_MANY_CALLS: -32001,
  RATE_LIMITED: -32001,
  NODE_BUSY: -32001,
  QUOTA_EXCEEDED: -32001,
  DEADLINE_EXCEEDED: -32002,
  CANCELLED: -32003,
  CALLER_NOT_ALLOWED: -32004,
};

/** RPC_MISC_ERROR: for all that has no code of its own. */
const MISC = -1;

/** Code of a reason. */
export function codeOf(reason: ErrorReason): number {
  return CODES[reason] ?? MISC;
}

/** An error object. */
export function errorAnswer(code: number, message: string, data?: JsonPiece): CallAnswer {
  const head = `{"code":${code},"message":${JSON.stringify(printableLine(message, MAX_MESSAGE_CHARS))}`;
  if (data === undefined) return { error: `${head}}`, code };
  return { error: typeof data === 'string' ? `${head},"data":${data}}` : join([`${head},"data":`, data, '}']), code };
}

/** The error object of a failure of the host's own. */
export function failureAnswer({ reason, message, retryAfterMs }: HostError): CallAnswer {
  const data = { reason, ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }) };
  return errorAnswer(codeOf(reason), message, JSON.stringify(data));
}

/** The answer to one call as its dialect has it; it has an `id` only where the call had one. */
export function answerText({ dialect, id }: Pick<WrittenCall, 'dialect' | 'id'>, answer: CallAnswer): JsonPiece[] {
  const end = id === undefined ? '}' : `,"id":${id}}`;
  if (dialect === '2.0') {
    const head = '{"jsonrpc":"2.0",';
    return 'result' in answer ? [`${head}"result":`, answer.result, end] : [`${head}"error":`, answer.error, end];
  }
  return 'result' in answer
    ? ['{"result":', answer.result, `,"error":null${end}`]
    : ['{"result":null,"error":', answer.error, end];
}

/**
 * HTTP status of a request with one call: a call in the dialect 2.0 that could be made is always well, whatever it said.
 *
 * @see Bitcoin Core, src/httprpc.cpp, JSONErrorReply and ExecuteHTTPRPC
 */
export function httpStatusOf(
  { dialect, refusal }: Pick<WrittenCall, 'dialect' | 'refusal'>,
  answer: CallAnswer,
): number {
  if ('result' in answer || (dialect === '2.0' && refusal === undefined)) return 200;
  if (answer.code === CODE.INVALID_REQUEST) return 400;
  return answer.code === CODE.METHOD_NOT_FOUND ? 404 : 500;
}

/** Bytes of pieces, as they are. */
export function join(pieces: readonly JsonPiece[]): Buffer {
  return Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'utf8') : piece)));
}
