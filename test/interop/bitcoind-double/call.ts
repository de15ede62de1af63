import { fromHex, hashFromDisplay } from '../../../src/core/bytes.js';
import type { NodeApi } from '../../../src/node/node-api.js';
import type { BlockIndex } from './block-index.js';
import type { Json } from './json.js';

/** Error codes of Bitcoin Core's RPC. @see Bitcoin Core, src/rpc/protocol.h */
export const RPC_CODE = {
  invalidRequest: -32600,
  methodNotFound: -32601,
  parseError: -32700,
  misc: -1,
  type: -3,
  invalidAddressOrKey: -5,
  invalidParameter: -8,
  inInitialDownload: -10,
  deserialization: -22,
  alreadyBanned: -23,
  verify: -25,
  verifyRejected: -26,
  alreadyInUtxoSet: -27,
  warmUp: -28,
  invalidAddress: -30,
} as const;

/** An error that the double answers. */
export class RpcError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'RpcError';
    this.code = code;
  }
}

/** What a method works on. */
export interface CallContext {
  readonly node: NodeApi;
  readonly index: BlockIndex;
  readonly settings: DoubleSettings;
  readonly signal: AbortSignal;
  /** Number of the next mempool change, as `sequence` frames and `getrawmempool` tell it. */
  mempoolSequence(): bigint;
  /** Resolves at the next change of the tip (or also the mempool), at the latest after `timeoutMs`; 0 = never. */
  awaitChange(of: 'tip' | 'tip-or-mempool', timeoutMs: number): Promise<void>;
  readonly zmqTopics: readonly string[];
  readonly zmqAddress: string;
  readonly startedUnixMs: number;
  readonly banned: Set<string>;
}

/** What an operator would have configured, or what the node would be going through; may change while it runs. */
export interface DoubleSettings {
  txindex: boolean;
  rest: boolean;
  /** Bodies below this height are gone; 0 = not pruned. */
  prunedBelow: number;
  initialBlockDownload: boolean;
}

/** One method: its argument names, for calls by name, and what it answers. */
export interface Method {
  readonly names: readonly string[];
  run(params: readonly unknown[], context: CallContext): Promise<Json>;
}

/** A parameter that is a hash in display order. @throws RpcError invalidParameter, in Core's words */
export function hashParam(value: unknown, name: string): Uint8Array {
  const text = textParam(value, name);
  if (text.length !== 64) {
    throw new RpcError(RPC_CODE.invalidParameter, `${name} must be of length 64 (not ${text.length}, for '${text}')`);
  }
  const hash = hashFromDisplay(text);
  if (hash === undefined) {
    throw new RpcError(RPC_CODE.invalidParameter, `${name} must be hexadecimal string (not '${text}')`);
  }
  return hash;
}

/** A parameter that is text. */
export function textParam(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  throw new RpcError(RPC_CODE.type, `JSON value of type ${typeName(value)} is not of expected type string (${name})`);
}

/** A parameter that is a whole number, or its default when left out. */
export function numberParam(value: unknown, name: string, otherwise?: number): number {
  if ((value === undefined || value === null) && otherwise !== undefined) return otherwise;
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw new RpcError(RPC_CODE.type, `JSON value of type ${typeName(value)} is not of expected type number (${name})`);
}

/** A parameter of Core's verbosity kind: a boolean or a number. */
export function verbosityParam(value: unknown, otherwise: number): number {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return numberParam(value, 'verbosity', otherwise);
}

/** Satoshis of an amount in bitcoins, which callers may give as number or text. */
export function amountParam(value: unknown, otherwise: bigint): bigint {
  if (value === undefined || value === null) return otherwise;
  const match = /^(\d+)(?:\.(\d{1,8}))?$/.exec(typeof value === 'number' ? value.toFixed(8) : String(value));
  if (match === null) throw new RpcError(RPC_CODE.type, 'Invalid amount');
  return BigInt(match[1] ?? '0') * 100_000_000n + BigInt((match[2] ?? '').padEnd(8, '0'));
}

/** Bytes of a hex parameter, or undefined. */
export function hexParam(value: unknown, name: string): Uint8Array | undefined {
  return fromHex(textParam(value, name));
}

function typeName(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}
