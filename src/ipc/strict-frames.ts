import { type ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js';

/** Compressed-flag byte of a gRPC frame. */
const PLAIN = 0;
const COMPRESSED = 1;

/** What grpc-js's innermost call keeps to itself; a test holds this place when the library changes. */
interface FrameReader {
  decoder: { readState: number };
  decompressMessage(frame: Buffer, encoding: string): Buffer | Promise<Buffer>;
  handleEndEvent(): void;
}

/** State of the frame decoder between two frames. */
const BETWEEN_FRAMES = 0;

/**
 * Interceptor that holds callers to gRPC's framing where grpc-js looks away: it takes every flag but 1 for "not
 * compressed", hands compressed bytes of no named encoding on as they are, and forgets a frame that the end of the
 * stream cut off, so that a stream of records would be acknowledged without its last one. It must stand first: the
 * first interceptor is the one that is given the innermost call.
 */
export function refuseLooseFrames(): ServerInterceptor {
  return (_method, call) => {
    const reader = call as unknown as FrameReader;
    if (typeof reader.decompressMessage !== 'function' || typeof reader.handleEndEvent !== 'function') {
      throw new Error('this release of grpc-js reads its frames elsewhere');
    }
    const decompress = reader.decompressMessage.bind(reader);
    reader.decompressMessage = (frame, encoding) => {
      const flag = frame[0] ?? PLAIN;
      if (flag > COMPRESSED) return Promise.reject(broken(`${flag} is no compressed-flag`));
      if (flag === COMPRESSED && encoding === 'identity') {
        return Promise.reject(broken('the frame is compressed, and grpc-encoding names no compression'));
      }
      return decompress(frame, encoding);
    };
    const end = reader.handleEndEvent.bind(reader);
    reader.handleEndEvent = () => {
      if (reader.decoder.readState === BETWEEN_FRAMES) return end();
      call.sendStatus(broken('the last frame is truncated'));
    };
    // not wrapped, so that the next interceptor is given the innermost call as well; the chain asks only the interface
    return call as ServerInterceptingCall;
  };
}

function broken(details: string): { code: status; details: string } {
  return { code: status.INTERNAL, details };
}
