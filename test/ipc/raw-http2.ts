import { type ClientHttp2Session, connect as connectHttp2, type OutgoingHttpHeaders } from 'node:http2';
import { connect, type Socket } from 'node:net';

/** Frame types of HTTP/2 (RFC 9113, section 6). */
export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const END_HEADERS = 4;

/** One HTTP/2 frame. */
export function http2Frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** One gRPC frame; `length` and `flag` may lie. */
export function grpcFrame(message: Uint8Array, flag = 0, length = message.byteLength): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** A header block of HPACK literals (RFC 7541, 6.2.2), which may hold what no client would send. */
export function headerBlock(headers: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, 'latin1');
    return Buffer.concat([hpackInteger(bytes.length), bytes]);
  };
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

function hpackInteger(value: number): Buffer {
  if (value < 127) return Buffer.of(value);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.of(...bytes, rest);
}

/** Headers of a gRPC call. */
export function callHeaders(path: string): [string, string][] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':authority', 'localhost'],
    [':path', path],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ];
}

/** A connection that speaks HTTP/2 by hand. */
export interface RawLink {
  socket: Socket;
  /** Types of the frames that came, with their streams. */
  frames: { type: number; stream: number; payload: Buffer }[];
  /** Resolves when the connection is gone. */
  closed: Promise<void>;
  /** Writes, and waits while the peer does not read; false when the connection went meanwhile. */
  send(bytes: Uint8Array): Promise<boolean>;
}

/** Connects and sends preface and SETTINGS. */
export async function openRaw(socketPath: string, settings: Uint8Array = new Uint8Array()): Promise<RawLink> {
  const socket = connect(socketPath);
  const frames: RawLink['frames'] = [];
  let pending = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 9) {
      const length = pending.readUIntBE(0, 3);
      if (pending.length < 9 + length) break;
      const payload = Buffer.from(pending.subarray(9, 9 + length));
      frames.push({ type: pending[3] ?? 0, stream: pending.readUInt32BE(5), payload });
      pending = pending.subarray(9 + length);
    }
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(http2Frame(SETTINGS, 0, 0, settings));
  return {
    socket,
    frames,
    closed,
    async send(bytes) {
      if (socket.destroyed || !socket.writable) return false;
      if (socket.write(bytes)) return true;
      await Promise.race([new Promise<void>((resolve) => socket.once('drain', () => resolve())), closed]);
      return !socket.destroyed;
    },
  };
}

/** A connection by Node's own HTTP/2 client. */
export function openSession(socketPath: string): ClientHttp2Session {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socketPath) });
  session.on('error', () => {});
  return session;
}

/** How a stream ended. */
export interface StreamEnd {
  httpStatus: number | undefined;
  grpcStatus: string | undefined;
  /** `modhost-reason`, `OK`, or `none`. */
  reason: string;
  /** Everything that the status carried, to look for what must not be there. */
  text: string;
  body: Buffer;
  rstCode: number | undefined;
}

/** Sends one call of given headers and bytes; a header of the value undefined is left out. */
export function sendCall(
  session: ClientHttp2Session,
  path: string,
  bytes: Uint8Array,
  headers: OutgoingHttpHeaders = {},
  end = true,
): Promise<StreamEnd> {
  return new Promise((resolve) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const answer: StreamEnd = {
      httpStatus: undefined,
      grpcStatus: undefined,
      reason: 'none',
      text: '',
      body: Buffer.alloc(0),
      rstCode: undefined,
    };
    const take = (received: Record<string, unknown>): void => {
      if (received[':status'] !== undefined) answer.httpStatus = Number(received[':status']);
      answer.text += JSON.stringify(received);
      if (received['grpc-status'] === undefined) return;
      answer.grpcStatus = String(received['grpc-status']);
      // an answer does not close a stream whose other half is open
      if (!end) stream.close();
      answer.reason = answer.grpcStatus === '0' ? 'OK' : String(received['modhost-reason'] ?? 'none');
    };
    stream.on('response', take);
    stream.on('trailers', take);
    stream.on('data', (chunk: Buffer) => {
      answer.body = Buffer.concat([answer.body, chunk]);
    });
    stream.on('error', () => {});
    stream.on('close', () => resolve({ ...answer, rstCode: stream.rstCode }));
    if (end) stream.end(bytes);
    else stream.write(bytes);
  });
}

/** A protobuf varint. */
export const varint = (value: bigint): Buffer => {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.of(...bytes, Number(rest));
};
/** A length-delimited protobuf field. */
export const bytesField = (number: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([varint(BigInt(number * 8 + 2)), varint(BigInt(bytes.length)), bytes]);
/** The same bytes many times. */
export const repeat = (bytes: readonly number[], times: number): Buffer =>
  Buffer.alloc(bytes.length * times, Buffer.from(bytes));
