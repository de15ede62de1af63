import { credentials, type ServiceError } from '@grpc/grpc-js';
import { AdminServiceClient } from '../../gen/ts/modhost/admin/v1/admin.js';
import { DevchainServiceClient } from '../../gen/ts/modhost/admin/v1/devchain.js';
import { ERROR_REASONS, type ErrorReason, HostError } from '../contract/error.js';

/** A running host, as its operator reaches it. */
export interface AdminClient {
  readonly admin: AdminServiceClient;
  readonly devchain: DevchainServiceClient;
  close(): void;
}

/** Opens a channel to a host's admin socket; nothing is sent before the first call. */
export function createAdminClient(socketPath: string): AdminClient {
  const options = { 'grpc.default_authority': 'localhost', 'grpc.use_local_subchannel_pool': 1 };
  const admin = new AdminServiceClient(`unix:${socketPath}`, credentials.createInsecure(), options);
  const devchain = new DevchainServiceClient(`unix:${socketPath}`, credentials.createInsecure(), options);
  return {
    admin,
    devchain,
    close() {
      admin.close();
      devchain.close();
    },
  };
}

/**
 * One unary call as a promise.
 *
 * @throws HostError with the reason that the host gave; NODE_UNAVAILABLE never, as the socket is the host's own
 */
export function callUnary<T>(call: (callback: (error: ServiceError | null, value: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error === null ? resolve(value) : reject(fromStatus(error))));
  });
}

/** The HostError that a status carries; a status without a reason means that no host answered. */
export function fromStatus(error: ServiceError): HostError {
  const reason = String(error.metadata?.get('modhost-reason')[0] ?? '');
  const known = ERROR_REASONS.find((candidate): candidate is ErrorReason => candidate === reason);
  if (known !== undefined) return new HostError(known, error.details);
  return new HostError('SESSION_CLOSED', `no host answers: ${error.details}`, { cause: error });
}
