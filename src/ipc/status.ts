import {
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServiceError,
  type status,
} from '@grpc/grpc-js';
import type { ErrorReason } from '../contract/error.js';
import { HostError } from '../contract/error.js';
import { type ErrorFacts, encodeStatusDetails } from '../contract/error-table.js';
import { asBuffer } from '../core/bytes.js';

/** Trailer with the reason, a name of the closed list. */
export const REASON_TRAILER = 'modhost-reason';
/** Trailer with the wait before a retry, decimal milliseconds. */
export const RETRY_AFTER_TRAILER = 'modhost-retry-after-ms';
/** Trailer with `google.rpc.Status`. */
const DETAILS_TRAILER = 'grpc-status-details-bin';
/** Longest status message; HTTP/2 header blocks are bounded, and a message is a sentence. */
const MAX_MESSAGE_CHARS = 512;

/** Turns errors into statuses: the one place where a reason meets its gRPC code. */
export interface StatusMapper {
  /** Status with trailers for anything thrown. */
  toStatus(error: unknown): ServiceError;
}

/** Makes the mapper from the table that the contract declares. */
export function createStatusMapper(table: ReadonlyMap<ErrorReason, ErrorFacts>): StatusMapper {
  return {
    toStatus(thrown) {
      const error = HostError.from(thrown);
      const code = (table.get(error.reason)?.code ?? 13) as status;
      // grpc-js passes the text through encodeURI, which throws on a lone surrogate
      const details = error.message.toWellFormed().slice(0, MAX_MESSAGE_CHARS).toWellFormed();
      const metadata = new Metadata();
      metadata.set(REASON_TRAILER, error.reason);
      if (error.retryAfterMs !== undefined) metadata.set(RETRY_AFTER_TRAILER, String(Math.ceil(error.retryAfterMs)));
      const plain = new HostError(error.reason, details, {
        details: Object.fromEntries(
          Object.entries(error.details).map(([key, value]) => [
            key,
            // a module's last 4 KiB of standard error would fill the trailers that many clients take
            typeof value === 'string' ? value.slice(0, MAX_MESSAGE_CHARS).toWellFormed() : value,
          ]),
        ),
        ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: Math.ceil(error.retryAfterMs) }),
      });
      metadata.set(DETAILS_TRAILER, asBuffer(encodeStatusDetails(plain, code)));
      return Object.assign(new Error(details), { code, details, metadata });
    },
  };
}

/** Statuses that grpc-js makes by itself, and the reasons that stand behind them. */
const FOREIGN_REASONS: Readonly<Record<number, ErrorReason>> = {
  4: 'DEADLINE_EXCEEDED',
  8: 'MESSAGE_TOO_LARGE',
  12: 'MALFORMED_MESSAGE',
  13: 'MALFORMED_MESSAGE',
};

/**
 * Interceptor that gives a reason to the statuses that grpc-js sends before or beside our handlers. grpc-js calls
 * `sendStatus` of its own innermost call for these, past every interceptor, so that method is what is wrapped.
 *
 * @param onForeign hears of each such end of a call, before the call's handler does
 */
export function answerForeignStatuses(
  statuses: StatusMapper,
  onForeign: (path: string, reason: ErrorReason) => void = () => {},
): ServerInterceptor {
  return ({ path }, call) => {
    const send = call.sendStatus.bind(call);
    call.sendStatus = (status) => {
      const reason = FOREIGN_REASONS[status.code];
      if (reason === undefined || (status.metadata?.get(REASON_TRAILER).length ?? 0) > 0) return send(status);
      onForeign(path, reason);
      const mapped = statuses.toStatus(new HostError(reason, status.details));
      send({ code: status.code, details: mapped.details, metadata: mapped.metadata });
    };
    return new ServerInterceptingCall(call);
  };
}
