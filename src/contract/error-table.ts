import { type FileRegistry, getOption, hasOption, isMessage } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { ERROR_REASONS, type ErrorReason, type HostError } from './error.js';

/** What a caller does about an error; names of `modhost.v1.Recovery` without prefix. */
export type Recovery = 'FIX_CALL' | 'RETRY' | 'ASK_OPERATOR' | 'CHANGE_STATE' | 'REPORT';

/** Facts that the contract declares beside a reason. */
export interface ErrorFacts {
  /** gRPC status code, 1 to 16. */
  readonly code: number;
  readonly recovery: Recovery;
}

/** Domain of `google.rpc.ErrorInfo`. */
const ERROR_DOMAIN = 'modhost';

const RECOVERIES: readonly Recovery[] = ['FIX_CALL', 'RETRY', 'ASK_OPERATOR', 'CHANGE_STATE', 'REPORT'];

/**
 * Code and recovery of every reason, from the options in the descriptor set.
 *
 * @throws Error when a reason lacks them
 */
export function readErrorTable(registry: FileRegistry): ReadonlyMap<ErrorReason, ErrorFacts> {
  const type = registry.getEnum('modhost.v1.ErrorReason');
  const option = registry.getExtension('modhost.v1.error');
  const table = new Map<ErrorReason, ErrorFacts>();
  for (const reason of ERROR_REASONS) {
    const value = type?.values.find((candidate) => candidate.name === `ERROR_REASON_${reason}`);
    if (value === undefined || option === undefined || !hasOption(value, option)) {
      throw new Error(`error reason ${reason} declares no status`);
    }
    const facts: unknown = getOption(value, option);
    if (!isMessage(facts)) throw new Error(`error reason ${reason} declares no status`);
    const { grpcCode, recovery } = facts as unknown as { grpcCode: number; recovery: number };
    const name = RECOVERIES[recovery - 1];
    if (name === undefined) throw new Error(`error reason ${reason} declares no recovery`);
    table.set(reason, { code: grpcCode, recovery: name });
  }
  return table;
}

/**
 * `google.rpc.Status` with ErrorInfo and, where there is one, RetryInfo, for the trailer `grpc-status-details-bin`.
 * Written field by field: those two well-known messages are all that is needed of googleapis.
 *
 * @see googleapis google/rpc/status.proto, google/rpc/error_details.proto
 */
export function encodeStatusDetails(error: HostError, code: number): Uint8Array {
  const info = new BinaryWriter().uint32(tag(1, 2)).string(error.reason).uint32(tag(2, 2)).string(ERROR_DOMAIN);
  for (const [key, value] of Object.entries(error.details)) {
    const entry = new BinaryWriter().uint32(tag(1, 2)).string(key).uint32(tag(2, 2)).string(String(value)).finish();
    info.uint32(tag(3, 2)).bytes(entry);
  }
  const status = new BinaryWriter().uint32(tag(1, 0)).int32(code).uint32(tag(2, 2)).string(error.message);
  status.uint32(tag(3, 2)).bytes(any('google.rpc.ErrorInfo', info.finish()));
  if (error.retryAfterMs !== undefined) {
    const duration = new BinaryWriter()
      .uint32(tag(1, 0))
      .int64(Math.floor(error.retryAfterMs / 1000))
      .uint32(tag(2, 0))
      .int32((error.retryAfterMs % 1000) * 1_000_000)
      .finish();
    const retry = new BinaryWriter().uint32(tag(1, 2)).bytes(duration).finish();
    status.uint32(tag(3, 2)).bytes(any('google.rpc.RetryInfo', retry));
  }
  return status.finish();
}

function any(type: string, value: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .uint32(tag(1, 2))
    .string(`type.googleapis.com/${type}`)
    .uint32(tag(2, 2))
    .bytes(value)
    .finish();
}

function tag(field: number, wireType: number): number {
  return (field << 3) | wireType;
}
