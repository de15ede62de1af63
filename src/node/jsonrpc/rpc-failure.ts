import { HostError } from '../../contract/error.js';

/** A call's own failure, as the node words it. */
export interface RpcFailure {
  code: number;
  message: string;
}

/** Codes that Bitcoin Core and btcd share. @see Bitcoin Core, src/rpc/protocol.h; btcd, btcjson/jsonrpcerr.go */
export const RPC = {
  MISC: -1,
  TYPE: -3,
  NOT_FOUND: -5,
  INVALID_PARAMETER: -8,
  NOT_CONNECTED: -9,
  INITIAL_DOWNLOAD: -10,
  DESERIALIZATION: -22,
  ALREADY_ADDED: -23,
  VERIFY_ERROR: -25,
  VERIFY_REJECTED: -26,
  ALREADY_IN_CHAIN: -27,
  WARM_UP: -28,
  INVALID_ADDRESS: -30,
  MEMPOOL_DISABLED: -33,
  METHOD_NOT_FOUND: -32601,
} as const;

/** When to try again at a node that warms up: it verifies or loads blocks, which takes seconds to minutes. */
const WARM_UP_RETRY_MS = 2_000;

/** When to try again at a node in its initial download. */
const DOWNLOAD_RETRY_MS = 30_000;

/** The error for a failure that has the same meaning in every call. */
export function hostErrorOf(failure: RpcFailure): HostError {
  const { code, message } = failure;
  const details = { rpcCode: code };
  switch (code) {
    case RPC.WARM_UP:
      return new HostError('NODE_SYNCING', `the node warms up: ${message}`, {
        retryAfterMs: WARM_UP_RETRY_MS,
        details,
      });
    case RPC.NOT_CONNECTED:
    case RPC.INITIAL_DOWNLOAD:
      return new HostError('NODE_SYNCING', `the node is not ready: ${message}`, {
        retryAfterMs: DOWNLOAD_RETRY_MS,
        details,
      });
    case RPC.METHOD_NOT_FOUND:
    case RPC.MEMPOOL_DISABLED:
      return new HostError('NODE_LACKS_FEATURE', `the node has no such call: ${message}`, { details });
    default:
      if (code === RPC.MISC && message.includes('unimplemented')) {
        return new HostError('NODE_LACKS_FEATURE', `the node has no such call: ${message}`, { details });
      }
      return new HostError('NODE_ERROR', `the node failed (${code}): ${message}`, { details });
  }
}

/** True when the error only says that the host's user may not use the call, or the node lacks it: no fault of the node. */
export function isMissingCall(error: unknown): boolean {
  return error instanceof HostError && (error.reason === 'NODE_LACKS_FEATURE' || error.reason === 'NODE_AUTH');
}
