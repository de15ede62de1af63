import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { Client, Metadata } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { LogServiceClient } from '../../gen/ts/modhost/v1/log.js';
import { type HandshakeRequest, SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { HostError } from '../../src/contract/error.js';
import { createRig, type Rig, type RigOptions, reasonOf, unary } from './rig.js';

let rig: Rig;
const start = async (options?: RigOptions): Promise<Rig> => {
  rig = await createRig(options);
  return rig;
};
afterEach(() => rig.dispose());

const claims = (over: Partial<HandshakeRequest> = {}): HandshakeRequest => ({
  token: new Uint8Array(32).fill(7),
  moduleName: 'probe',
  moduleVersion: '1.2.3',
  protocolMin: 1,
  protocolMax: 1,
  sdkName: 'test',
  sdkVersion: '1',
  ...over,
});

const shake = (over?: Partial<HandshakeRequest>): Promise<string> => {
  const client = rig.client(SessionServiceClient);
  return reasonOf(unary((cb) => client.handshake(claims(over), cb)));
};

/** A unary call with raw bytes, as no stub would send them. */
const raw = (path: string, bytes: Uint8Array, metadata = new Metadata(), deadlineMs = 5_000): Promise<unknown> => {
  const client = rig.client(Client);
  return unary((cb) =>
    client.makeUnaryRequest(
      path,
      (buffer: Buffer) => buffer,
      (buffer: Buffer) => buffer,
      Buffer.from(bytes),
      metadata,
      { deadline: Date.now() + deadlineMs },
      cb,
    ),
  );
};

describe('handshake', () => {
  it('opens the session once the token, name, version and protocol fit', async () => {
    await start();
    expect(await shake()).toBe('OK');
    expect(rig.session.state()).toBe('open');
    expect(await shake()).toBe('OK');
  });

  it.each([
    ['C082', { token: new Uint8Array(32) }, 'BAD_TOKEN'],
    ['C082', { token: new Uint8Array(31).fill(7) }, 'BAD_TOKEN'],
    ['C082', { token: new Uint8Array(33).fill(7) }, 'BAD_TOKEN'],
    ['C082', { token: new Uint8Array(0) }, 'FIELD_REQUIRED'],
    ['C085', { moduleName: 'other' }, 'IDENTITY_MISMATCH'],
    ['C085', { moduleName: 'x'.repeat(65) }, 'OUT_OF_RANGE'],
    ['C087', { moduleVersion: '1.2.4' }, 'VERSION_MISMATCH'],
    ['C088', { protocolMin: 2, protocolMax: 9 }, 'PROTOCOL_UNSUPPORTED'],
    ['C088', { protocolMin: 0, protocolMax: 0 }, 'PROTOCOL_UNSUPPORTED'],
    ['C088', { protocolMin: 2, protocolMax: 1 }, 'PROTOCOL_UNSUPPORTED'],
    ['C088', { protocolMin: 2 ** 32 - 1, protocolMax: 2 ** 32 - 1 }, 'PROTOCOL_UNSUPPORTED'],
  ])('%s refuses %j', async (_row, over, reason) => {
    await start();
    expect(await shake(over)).toBe(reason);
    expect(rig.session.state()).toBe('waiting');
  });

  it('C082 raises an alarm at the third wrong token', async () => {
    await start();
    for (let i = 0; i < 3; i++) await shake({ token: new Uint8Array(32) });
    expect(rig.suspicious).toEqual([3]);
  });

  it('C086 refuses every other rpc before it', async () => {
    await start();
    const session = rig.client(SessionServiceClient);
    expect(await reasonOf(unary((cb) => session.ready({}, cb)))).toBe('HANDSHAKE_REQUIRED');
    expect(await reasonOf(unary((cb) => session.getContext({}, cb)))).toBe('HANDSHAKE_REQUIRED');
    const log = rig.client(LogServiceClient);
    expect(await reasonOf(unary((cb) => log.write(cb)))).toBe('HANDSHAKE_REQUIRED');
    expect(rig.decisions.every((decision) => !decision.allowed)).toBe(true);
  });

  it('counts Ready once', async () => {
    await start();
    await rig.open();
    const session = rig.client(SessionServiceClient);
    expect(await reasonOf(unary((cb) => session.ready({}, cb)))).toBe('OK');
    expect(await reasonOf(unary((cb) => session.ready({}, cb)))).toBe('ALREADY_READY');
    expect(await reasonOf(unary((cb) => session.starting({ progressPercent: 5, message: '' }, cb)))).toBe(
      'ALREADY_READY',
    );
  });

  it('C100 refuses everything once the session has ended', async () => {
    await start();
    await rig.open();
    rig.session.close(new HostError('SESSION_CLOSED', 'unloaded'));
    const session = rig.client(SessionServiceClient);
    expect(await reasonOf(unary((cb) => session.getContext({}, cb)))).toBe('SESSION_CLOSED');
    expect(await shake()).toBe('SESSION_CLOSED');
  });
});

describe('bad bytes', () => {
  it.each([
    ['C070', 'truncated string', [0x12, 0x05, 0x61]],
    ['C070', '11-byte varint', [0x20, ...new Array<number>(11).fill(0xff), 0x01]],
    ['C070', 'wire type 7', [0x0f]],
    ['C070', 'field 0', [0x00, 0x00]],
    ['C070', 'lone group end', [0x0c]],
    ['C070', 'a length of 2 GiB', [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]],
    ['C071', 'invalid UTF-8', [0x12, 0x02, 0xc3, 0x28]],
    ['C072', 'groups nested 100,000 deep', new Array<number>(100_000).fill(0x7b)],
  ])('%s %s is MALFORMED_MESSAGE', async (_row, _what, bytes) => {
    await start();
    expect(await reasonOf(raw('/modhost.v1.SessionService/Handshake', Uint8Array.from(bytes)))).toBe(
      'MALFORMED_MESSAGE',
    );
    expect(await shake()).toBe('OK');
  });

  it('C067 refuses a message over 4 MiB', async () => {
    await start();
    expect(await reasonOf(raw('/modhost.v1.SessionService/Handshake', new Uint8Array(4 * 1024 * 1024 + 1)))).toBe(
      'MESSAGE_TOO_LARGE',
    );
  });

  it('C074 ignores fields of a newer SDK', async () => {
    await start();
    await rig.open();
    expect(await reasonOf(raw('/modhost.v1.SessionService/GetContext', Uint8Array.of(0xf8, 0x07, 0x01)))).toBe('OK');
  });

  it('C076 refuses 8 KiB of metadata', async () => {
    await start();
    await rig.open();
    const metadata = new Metadata();
    metadata.set('x-big', 'a'.repeat(9_000));
    expect(await reasonOf(raw('/modhost.v1.SessionService/GetContext', new Uint8Array(), metadata))).toBe(
      'METADATA_TOO_LARGE',
    );
  });

  it.each([
    '/modhost.v1.SessionService/getcontext',
    '/Modhost.v1.SessionService/GetContext',
    '//modhost.v1.SessionService/GetContext',
    '/modhost.v1.SessionService/GetContext/',
    '/modhost.v1.SessionService/%47etContext',
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.channelz.v1.Channelz/GetServers',
    '/grpc.health.v1.Health/Check',
    '/__proto__/constructor',
    '/',
  ])('C077 C098 C099 %s is UNKNOWN_METHOD', async (path) => {
    await start();
    await rig.open();
    expect(await reasonOf(raw(path, new Uint8Array()))).toBe('UNKNOWN_METHOD');
  });

  it('C077 survives a path that no header can hold', async () => {
    await start();
    await rig.open();
    for (const path of ['/caf\u00e9/\u00ff', '/a\tb/c', `/${'x'.repeat(20_000)}`]) {
      await new Promise<void>((resolve) => {
        const session: ClientHttp2Session = connectHttp2('http://localhost', {
          createConnection: () => connect(rig.socketPath),
        });
        const done = (): void => {
          session.destroy();
          resolve();
        };
        session.on('error', done);
        const stream = session.request({
          ':method': 'POST',
          ':path': path,
          'content-type': 'application/grpc',
          te: 'trailers',
        });
        stream.on('error', done);
        stream.on('close', done);
        stream.on('response', done);
        stream.end();
      });
    }
    expect(await shake()).toBe('OK');
  });

  it('C065 C066 closes what is no gRPC, and what says nothing', async () => {
    await start({ handshakeTimeoutMs: 300 });
    const closed = (bytes: string | undefined): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(rig.socketPath, () => bytes !== undefined && socket.write(bytes));
        socket.on('error', () => {});
        socket.on('data', () => {});
        socket.on('close', () => resolve());
      });
    await closed('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await closed('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03');
    await closed(undefined);
    await closed('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    await expect.poll(() => rig.server.connectionCount()).toBe(0);
    expect(await shake()).toBe('OK');
  });

  it('C066 C083 holds the number of connections', async () => {
    await start();
    await rig.open();
    const sockets = Array.from({ length: 8 }, () => connect(rig.socketPath));
    for (const socket of sockets) socket.on('error', () => {});
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(rig.server.connectionCount()).toBeLessThanOrEqual(4);
    for (const socket of sockets) socket.destroy();
  });
});

describe('deadlines', () => {
  it.each([
    ['abc', 'MALFORMED_MESSAGE'],
    ['0n', 'DEADLINE_EXCEEDED'],
  ])('C078 grpc-timeout %s', async (timeout, reason) => {
    await start();
    await rig.open();
    const answer = await new Promise<string>((resolve) => {
      const session = connectHttp2('http://localhost', { createConnection: () => connect(rig.socketPath) });
      const stream = session.request({
        ':method': 'POST',
        ':path': '/modhost.v1.SessionService/GetContext',
        'content-type': 'application/grpc',
        'grpc-timeout': timeout,
        te: 'trailers',
      });
      stream.on('response', (headers) => {
        resolve(String(headers['modhost-reason']));
        session.destroy();
      });
      stream.on('error', () => resolve('stream error'));
      stream.resume();
    });
    expect(answer).toBe(reason);
  });
});
