import { credentials, InterceptingCall, type Interceptor, type ServiceError, status } from '@grpc/grpc-js';
import { AdminServiceClient } from '../../gen/ts/modhost/admin/v1/admin.js';
import { DevchainServiceClient } from '../../gen/ts/modhost/admin/v1/devchain.js';
import { ERROR_REASONS, type ErrorReason, HostError } from '../contract/error.js';

/** A running host, as its operator reaches it. */
export interface AdminClient {
  readonly admin: AdminServiceClient;
  readonly devchain: DevchainServiceClient;
  close(): void;
}

/** How long answers are waited for. */
export interface AdminPatience {
  /**
   * Longest time for the answer to a unary call, milliseconds; 0 = no bound. Without it, what the host answers out of its
   * own head has 15 s, and what waits for modules has no bound.
   */
  readonly timeoutMs?: number;
}

/** Time for what the host answers out of its own head, milliseconds: a busy Raspberry Pi needs a second. */
const ANSWER_TIMEOUT_MS = 15_000;
/** A host that is stuck or gone is noticed by its silence on the connection, also while a call waits for modules. */
const KEEPALIVE = { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 10_000 } as const;

/** Calls that end when a module has done something: how long that takes is the module's. */
const WAITS_FOR_MODULES: ReadonlySet<string> = new Set([
  ...['LoadModule', 'UnloadModule', 'ReloadModule', 'EnableModule', 'DisableModule', 'RunCommand', 'ApplyConfig'],
]);

/** Gives unary calls an end. */
function patience({ timeoutMs }: AdminPatience): Interceptor {
  return (options, nextCall) => {
    const { path, requestStream, responseStream } = options.method_definition;
    const usual = WAITS_FOR_MODULES.has(path.slice(path.lastIndexOf('/') + 1)) ? 0 : ANSWER_TIMEOUT_MS;
    const ms = requestStream || responseStream ? 0 : (timeoutMs ?? usual);
    return new InterceptingCall(nextCall(ms === 0 ? options : { ...options, deadline: Date.now() + ms }));
  };
}

/** Opens a channel to a host's admin socket; nothing is sent before the first call. */
export function createAdminClient(socketPath: string, bounds: AdminPatience = {}): AdminClient {
  const options = {
    'grpc.default_authority': 'localhost',
    'grpc.use_local_subchannel_pool': 1,
    ...KEEPALIVE,
    interceptors: [patience(bounds)],
  };
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
 * @param signal gives the call up, at the host too
 * @throws       HostError with the reason that the host gave; CANCELLED, DEADLINE_EXCEEDED, SESSION_CLOSED (no host
 *   answers); NODE_UNAVAILABLE never, as the socket is the host's own
 */
export function callUnary<T>(
  call: (callback: (error: ServiceError | null, value: T) => void) => unknown,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => (running as { cancel?(): void } | undefined)?.cancel?.();
    const running = call((error, value) => {
      signal?.removeEventListener('abort', giveUp);
      if (error === null) resolve(value);
      else reject(fromStatus(error));
    });
    if (signal?.aborted === true) giveUp();
    else signal?.addEventListener('abort', giveUp, { once: true });
  });
}

/** The HostError that a status carries; a status without a reason means that no host answered. */
export function fromStatus(error: ServiceError): HostError {
  const reason = String(error.metadata?.get('modhost-reason')[0] ?? '');
  const known = ERROR_REASONS.find((candidate): candidate is ErrorReason => candidate === reason);
  if (known !== undefined) return new HostError(known, error.details);
  // without a reason of the host's these two were decided on this side
  if (error.code === status.DEADLINE_EXCEEDED) {
    return new HostError('DEADLINE_EXCEEDED', 'the host has not answered in time; --timeout gives it more', {
      cause: error,
    });
  }
  if (error.code === status.CANCELLED) return new HostError('CANCELLED', 'the call was given up', { cause: error });
  return new HostError('SESSION_CLOSED', `no host answers: ${error.details}`, { cause: error });
}
