import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { type Metadata, type Server, status } from '@grpc/grpc-js';
import { HostError } from '../contract/error.js';
import type { StatusMapper } from './status.js';
import { createTurnstile, type Turnstile } from './turnstile.js';

/** Longest timeout that both grpc-js and Node's timers can hold: the next millisecond counts as none at all. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** The same in the form of the header, where a number has at most eight digits. */
const MAX_TIMEOUT_HEADER = `${Math.floor(MAX_TIMEOUT_MS / 1000)}S`;

/** Units of `grpc-timeout` in milliseconds. */
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
/** Names and values that gRPC metadata can hold. */
const METADATA_NAME = /^[0-9a-z_.-]+$/;
const METADATA_VALUE = /^[ -~]*$/;

type StreamHandler = (interceptors: unknown, stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/**
 * Looks at the headers of every call before grpc-js does, and where grpc-js would do harm:
 * - a timeout over 24 days overflows its 32-bit arithmetic and ends the call at once or soon: it is shortened;
 * - a header that metadata cannot hold is printed to the host's stderr with its value, as often as a hostile module
 *   likes: it is left out, silently, as grpc-js does after printing;
 * - a call without `te: trailers` is let through, though its caller may never see a status: it is refused;
 * - all calls that have arrived begin in the same turn of the event loop, and other modules wait: they take turns.
 *
 * The handler of streams is no public door of grpc-js; a test holds this place when the library changes. Call it
 * before the server makes its connection injector.
 *
 * @returns the turnstile, which is to hear of refusals
 */
export function gateHeaders(server: Server, statuses: StatusMapper): Turnstile {
  const doors = server as unknown as { _streamHandler: StreamHandler };
  const pass = doors._streamHandler;
  if (typeof pass !== 'function') throw new Error('this release of grpc-js handles its streams elsewhere');
  const turnstile = createTurnstile();
  doors._streamHandler = (interceptors, stream, headers) => {
    if (isGrpc(headers) && headers.te !== 'trailers') {
      refuse(stream, statuses, new HostError('MALFORMED_MESSAGE', 'a gRPC call carries the header te: trailers'));
      return;
    }
    const timeout = headers['grpc-timeout'];
    if (typeof timeout === 'string' && isOverlong(timeout)) headers['grpc-timeout'] = MAX_TIMEOUT_HEADER;
    for (const [name, value] of Object.entries(headers)) {
      if (!name.startsWith(':') && !isMetadata(name, value)) delete headers[name];
    }
    turnstile.enter(stream, () => pass.call(server, interceptors, stream, headers));
  };
  return turnstile;
}

/** Everything else is not for us: grpc-js answers it with HTTP status 415. */
function isGrpc(headers: IncomingHttpHeaders): boolean {
  return headers['content-type']?.startsWith('application/grpc') === true;
}

function isOverlong(timeout: string): boolean {
  const [, digits, unit] = TIMEOUT.exec(timeout) ?? [];
  return unit !== undefined && Number(digits) * (UNIT_MS[unit] ?? 0) > MAX_TIMEOUT_MS;
}

function isMetadata(name: string, value: string | string[] | undefined): boolean {
  if (!METADATA_NAME.test(name)) return false;
  if (name.endsWith('-bin')) return true;
  return (Array.isArray(value) ? value : [value ?? '']).every((text) => METADATA_VALUE.test(text));
}

function refuse(stream: ServerHttp2Stream, statuses: StatusMapper, error: HostError): void {
  const { details, metadata } = statuses.toStatus(error);
  // a caller that goes meanwhile must not end the host
  stream.on('error', () => {});
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      // as every other break of gRPC's own rules
      'grpc-status': String(status.INTERNAL),
      'grpc-message': encodeURI(details),
      ...(metadata as Metadata).toHttp2Headers(),
    },
    { endStream: true },
  );
}
