import { HostError } from '../../contract/error.js';
import { type JsonSpan, jsonKind, jsonMembers, jsonSpan } from '../../core/json-text.js';
import type { RawAnswer } from '../node-api.js';

/** Code of an error that has none. @see JSON-RPC 2.0, section 5.1 */
const INTERNAL_ERROR = -32603;

/**
 * Cuts `result` or `error` out of a node's answer, byte for byte. The bytes are read as Latin-1: what is structure in JSON
 * is ASCII, and every byte comes out as it went in.
 *
 * @throws HostError NODE_ERROR when it is no JSON-RPC answer
 */
export function readRawAnswer(body: Buffer): RawAnswer {
  const text = body.toString('latin1');
  const members = membersOf(text);
  const bytesOf = ({ start, end }: JsonSpan): Uint8Array => body.subarray(start, end);
  const error = members.get('error');
  if (error !== undefined && jsonKind(text, error.start) !== 'null') {
    return { error: bytesOf(error), code: codeIn(text, error) };
  }
  const result = members.get('result');
  if (result === undefined) throw new HostError('NODE_ERROR', 'the node gave an answer without result and error');
  return { result: bytesOf(result) };
}

function membersOf(text: string): Map<string, JsonSpan> {
  let whole: JsonSpan;
  try {
    whole = jsonSpan(text);
  } catch (cause) {
    throw new HostError('NODE_ERROR', "the node's answer is no JSON", { cause });
  }
  if (jsonKind(text, whole.start) !== 'object') throw new HostError('NODE_ERROR', "the node's answer is no object");
  return new Map(jsonMembers(text, whole));
}

function codeIn(text: string, error: JsonSpan): number {
  if (jsonKind(text, error.start) !== 'object') return INTERNAL_ERROR;
  const code = new Map(jsonMembers(text, error)).get('code');
  const number = code === undefined ? Number.NaN : Number(text.slice(code.start, code.end));
  return Number.isSafeInteger(number) ? number : INTERNAL_ERROR;
}
