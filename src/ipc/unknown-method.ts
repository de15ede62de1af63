import type { Server } from '@grpc/grpc-js';
import { HostError } from '../contract/error.js';
import type { StatusMapper } from './status.js';

interface HandlerLookup {
  handlers: Map<string, unknown>;
}

/**
 * Answers methods that no service has with UNKNOWN_METHOD. grpc-js would copy the path into a header as it came, which
 * throws on bytes that a header cannot hold, and throwing there ends the process. Its table of handlers is a Map
 * without a public door; a test holds this place when the library changes.
 */
export function answerUnknownMethods(server: Server, statuses: StatusMapper): void {
  const lookup = server as unknown as HandlerLookup;
  if (!(lookup.handlers instanceof Map)) throw new Error('this release of grpc-js keeps its handlers elsewhere');
  const unknown = {
    // bidi, because that form runs its function without waiting for a message
    type: 'bidi',
    path: '/unknown',
    serialize: (bytes: Buffer) => bytes,
    deserialize: (bytes: Buffer) => bytes,
    func: (call: { emit(event: 'error', error: unknown): void }) =>
      call.emit('error', statuses.toStatus(new HostError('UNKNOWN_METHOD', 'the contract has no such method'))),
  };
  const known = lookup.handlers;
  const get = known.get.bind(known);
  known.get = (path: string) => get(path) ?? unknown;
}
