import { type JsonSpan, jsonItems, jsonKind, jsonMembers, jsonSpan } from '../../core/json-text.js';
import { MAX_BATCH_CALLS, MAX_ID_BYTES, MAX_METHOD_CHARS } from './limits.js';

/**
 * How an answer is put. `legacy` is what Bitcoin Core speaks with clients that do not say "jsonrpc": "2.0". Which is which,
 * and what breaks the protocol in which words, is as in Bitcoin Core 28 and newer.
 *
 * @see Bitcoin Core, src/rpc/request.cpp (JSONRPCRequest::parse) and doc/JSON-RPC-interface.md
 */
export type Dialect = '2.0' | 'legacy';

/** Codes of the protocol itself. @see JSON-RPC 2.0, section 5.1 */
export const CODE = {
  PARSE: -32700,
  INVALID_REQUEST: -32600,
  METHOD_NOT_FOUND: -32601,
  INVALID_PARAMS: -32602,
  INTERNAL: -32603,
} as const;

/** Why a call is not made. */
export interface Refusal {
  readonly code: number;
  readonly message: string;
}

/** One call as it was written. */
export interface WrittenCall {
  readonly dialect: Dialect;
  /** JSON text, echoed as it is; undefined when there was none, and then the answer has none. */
  readonly id: string | undefined;
  /** True when nobody wants an answer: "2.0" without an id. One that breaks the protocol is answered all the same, alone. */
  readonly notification: boolean;
  readonly method: string;
  /** JSON text of an array or object; empty when there were none. */
  readonly params: string;
  /** Set when the call breaks the protocol. */
  readonly refusal: Refusal | undefined;
}

/** What one request asks for. */
export interface WrittenRequest {
  readonly batch: boolean;
  readonly calls: readonly WrittenCall[];
}

const DECODER_OPTIONS = { fatal: true, ignoreBOM: true } as const;

/** The calls of a body. Never throws: what is wrong with the whole stands as the refusal of one call. */
export function readRequest(body: Uint8Array): WrittenRequest {
  let text: string;
  let whole: JsonSpan;
  try {
    text = new TextDecoder('utf-8', DECODER_OPTIONS).decode(body);
    whole = jsonSpan(text);
  } catch {
    return { batch: false, calls: [refused(CODE.PARSE, 'Parse error')] };
  }
  const kind = jsonKind(text, whole.start);
  if (kind === 'object') return { batch: false, calls: [readCall(text, whole)] };
  if (kind !== 'array') return { batch: false, calls: [refused(CODE.PARSE, 'Top-level object parse error')] };
  const items = jsonItems(text, whole);
  if (items.length > MAX_BATCH_CALLS) {
    const message = `a batch has at most ${MAX_BATCH_CALLS} calls`;
    return { batch: false, calls: [refused(CODE.INVALID_REQUEST, message)] };
  }
  return { batch: true, calls: items.map((item) => readCall(text, item)) };
}

/** Members that mean something; one that comes twice could be read differently by two readers. */
const KNOWN: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params']);

function readCall(text: string, span: JsonSpan): WrittenCall {
  if (jsonKind(text, span.start) !== 'object') return refused(CODE.INVALID_REQUEST, 'Invalid Request object');
  const members = new Map<string, JsonSpan>();
  let doubled: string | undefined;
  for (const [name, value] of jsonMembers(text, span)) {
    if (!KNOWN.has(name)) continue;
    if (members.has(name)) doubled = name;
    members.set(name, value);
  }
  const textOf = (name: string): string | undefined => {
    const value = members.get(name);
    return value === undefined ? undefined : text.slice(value.start, value.end);
  };
  const version = textOf('jsonrpc');
  const dialect: Dialect = version === '"2.0"' ? '2.0' : 'legacy';
  const id = textOf('id');
  const method = textOf('method');
  const params = textOf('params') ?? 'null';
  const wrong =
    doubled === undefined
      ? (versionFlaw(version) ?? idFlaw(id) ?? methodFlaw(method) ?? paramsFlaw(params))
      : `${doubled} stands there twice`;
  return {
    dialect,
    id: idFlaw(id) === undefined ? id : 'null',
    notification: dialect === '2.0' && id === undefined,
    method: wrong === undefined ? (JSON.parse(method ?? '""') as string) : '',
    params: params === 'null' ? '' : params,
    refusal: wrong === undefined ? undefined : { code: CODE.INVALID_REQUEST, message: wrong },
  };
}

function versionFlaw(version: string | undefined): string | undefined {
  if (version === undefined || version === 'null') return undefined;
  if (jsonKind(version) !== 'string') return 'jsonrpc field must be a string';
  // older clients say "1.0" here; those of 1.1 say it in `version`, which nobody looks at
  return ['"2.0"', '"1.0"'].includes(version) ? undefined : 'JSON-RPC version not supported';
}

function idFlaw(id: string | undefined): string | undefined {
  if (id === undefined) return undefined;
  return Buffer.byteLength(id) > MAX_ID_BYTES ? `id has more than ${MAX_ID_BYTES} bytes` : undefined;
}

function methodFlaw(method: string | undefined): string | undefined {
  if (method === undefined) return 'Missing method';
  if (jsonKind(method) !== 'string') return 'Method must be a string';
  return method.length > MAX_METHOD_CHARS ? `a method has at most ${MAX_METHOD_CHARS} characters` : undefined;
}

function paramsFlaw(params: string): string | undefined {
  return ['array', 'object', 'null'].includes(jsonKind(params)) ? undefined : 'Params must be an array or object';
}

function refused(code: number, message: string): WrittenCall {
  const refusal = { code, message };
  return { dialect: 'legacy', id: 'null', notification: false, method: '', params: '', refusal };
}
