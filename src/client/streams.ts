import { type ClientReadableStream, type ServiceError, status } from '@grpc/grpc-js';
import { fromStatus } from './admin-client.js';

/**
 * The messages of a server stream in order; leaving the loop cancels the stream.
 *
 * @throws HostError with the reason that the host gave
 */
export async function* messagesOf<T>(stream: ClientReadableStream<T>): AsyncGenerator<T, void, undefined> {
  try {
    for await (const message of stream) yield message as T;
  } catch (error) {
    if (isServiceError(error)) throw fromStatus(error);
    throw error;
  } finally {
    // a stream that was left before its end would otherwise fail later, with nobody to catch it
    stream.on('error', () => {});
    stream.cancel();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && Object.values(status).includes(error.code as status);
}
