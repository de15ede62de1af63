import { readFileSync } from 'node:fs';
import { connect as dial, type Socket } from 'node:net';
import { join } from 'node:path';
import type { HostOptions, RpcSettings } from '../../../src/host/options.js';
import { connect, type Module } from '../../../src/sdk/connect.js';
import type { Handlers } from '../../../src/sdk/invocations.js';
import { createExternalHost, type ExternalHost } from '../../host/external-host.js';
import { VERSION } from '../../host/external-module.js';

/** What the door said to one request. */
export interface Said {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** A host with an open front door, and modules that the test speaks for. */
export interface DoorRig extends ExternalHost {
  port: number;
  /** Value of the Authorization header. */
  authorization: string;
  cookieFile: string;
  /** POST / with the right password; more or other headers by name, undefined leaves one out. */
  post(body: string | Uint8Array, headers?: Record<string, string | undefined>): Promise<Said>;
  get(path: string, headers?: Record<string, string>): Promise<Said>;
  /** Bytes as they are; resolves with all that came until the door closed the connection. */
  raw(text: string | Uint8Array, until?: (received: string) => boolean): Promise<string>;
  /** One call in the 2.0 dialect; gives the parsed answer. */
  call(
    method: string,
    params?: string,
  ): Promise<{ result?: unknown; error?: { code: number; message: string; data?: unknown } }>;
  /** A module by the SDK: connected, ready, serving. */
  module(name: string, handlers: Handlers): Promise<Module>;
}

/** Opens one; dispose it. */
export async function createDoorRig(
  modules: readonly string[] = ['probe'],
  rpc: RpcSettings = {},
  more: Partial<HostOptions> = {},
): Promise<DoorRig> {
  const rig = await createExternalHost({
    modules: modules.map((name) => ({ name, capabilities: ['register_rpc_endpoint'] })),
    more: { rpc, ...more },
  });
  const { host } = await rig.host.control.status(new AbortController().signal);
  const port = Number(new URL(host?.rpcUrl ?? '').port);
  const cookieFile = host?.rpcCookieFile ?? '';
  const authorization = `Basic ${Buffer.from(readFileSync(cookieFile, 'utf8')).toString('base64')}`;
  const address = rpc.address ?? '127.0.0.1';

  const raw: DoorRig['raw'] = (text, until = () => false) =>
    new Promise((resolve, reject) => {
      const socket: Socket = dial(port, address);
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        if (until(Buffer.concat(chunks).toString('utf8'))) socket.destroy();
      });
      socket.on('close', () => resolve(Buffer.concat(chunks).toString('utf8')));
      // what is closed while it is being written to says so by a reset
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNREFUSED') reject(error);
      });
      socket.write(text);
    });
  const ask = async (line: string, headers: Record<string, string | undefined>, body: Uint8Array): Promise<Said> => {
    const lines = Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}: ${value}`],
    );
    const head = Buffer.from(`${[line, ...lines, 'Connection: close'].join('\r\n')}\r\n\r\n`);
    return readAnswer(await raw(Buffer.concat([head, body])));
  };
  const post: DoorRig['post'] = (body, headers = {}) => {
    const bytes = Buffer.from(body);
    const usual = { Host: 'localhost', Authorization: authorization, 'Content-Length': String(bytes.byteLength) };
    return ask('POST / HTTP/1.1', { ...usual, ...headers }, bytes);
  };
  const opened: Module[] = [];
  return {
    ...rig,
    port,
    authorization,
    cookieFile,
    post,
    raw,
    get: (path, headers = {}) => ask(`GET ${path} HTTP/1.1`, { Host: 'localhost', ...headers }, new Uint8Array()),
    async call(method, params) {
      const body = `{"jsonrpc":"2.0","id":1,"method":${JSON.stringify(method)}${params === undefined ? '' : `,"params":${params}`}}`;
      return JSON.parse((await post(body)).body);
    },
    async module(name, handlers) {
      const socketPath = rig.socketPath(name);
      const module = await connect({
        version: VERSION,
        env: {
          MODHOST_SOCKET: socketPath,
          MODHOST_TOKEN_FILE: join(socketPath, '..', 'token'),
          MODHOST_MODULE_ID: name,
          MODHOST_INSTANCE_ID: 'test',
          MODHOST_DATA_DIR: rig.dir,
        },
      });
      opened.push(module);
      module.serve(handlers);
      await module.ready();
      return module;
    },
    async dispose() {
      for (const module of opened) await module.close();
      await rig.dispose();
    },
  };
}

/** Status, headers and body of one answer. */
export function readAnswer(text: string): Said {
  const end = text.indexOf('\r\n\r\n');
  const [first = '', ...lines] = text.slice(0, Math.max(0, end)).split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  );
  return { status: Number(first.split(' ')[1] ?? 0), headers, body: text.slice(end + 4) };
}
