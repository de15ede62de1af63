import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import type { LogFields, Logger } from '../../src/core/logger.js';
import { createLocalNetworks, parseAddress } from '../../src/network/address-policy.js';
import { readExactly } from '../../src/network/exact-read.js';
import { createGateway, type Gateway, type GatewayOptions } from '../../src/network/gateway.js';
import { parseEndpoint, settleNetwork } from '../../src/network/grants.js';
import { NETWORK_LIMITS, type NetworkLimits } from '../../src/network/limits.js';
import { type NetworkPlan, type NetworkPolicy, planNetwork } from '../../src/network/plan.js';
import type { NameResolver } from '../../src/network/resolver.js';

/** Policy of an operator who has said nothing. */
export const OPEN_POLICY: NetworkPolicy = { proxy: undefined, onlynet: undefined, inboundAddress: undefined };

/** Onion service of version 3 with a good checksum: that of the Tor Project. */
export const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion';

/** A logger that keeps its lines. */
export function createLogbook(): { log: Logger; lines: { level: string; fields: LogFields; message: string }[] } {
  const lines: { level: string; fields: LogFields; message: string }[] = [];
  const make = (bound: LogFields): Logger => {
    const at = (level: string) => (fields: LogFields, message: string) =>
      void lines.push({ level, fields: { ...bound, ...fields }, message });
    const levels = { trace: at('trace'), debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
    return { ...levels, child: (fields) => make({ ...bound, ...fields }) };
  };
  return { log: make({}), lines };
}

/** A resolver that answers from a table and remembers what it was asked. */
export function createTableResolver(table: Record<string, string[] | string[][]>): NameResolver & { asked: string[] } {
  const asked: string[] = [];
  const answer = async (name: string) => {
    asked.push(name);
    const entry = table[name] ?? [];
    const texts = Array.isArray(entry[0]) ? ((entry as string[][]).shift() ?? []) : (entry as string[]);
    return texts.flatMap((text) => parseAddress(text) ?? []);
  };
  return { asked, lookup: answer, query: answer };
}

/** What a test says of a module's network. */
export interface RigOptions {
  outbound?: string[];
  /** Marked as private by the operator. */
  private?: string[];
  outboundAny?: boolean;
  inbound?: number[];
  udp?: boolean;
  policy?: Partial<NetworkPolicy>;
  names?: Record<string, string[] | string[][]>;
  limits?: Partial<NetworkLimits>;
  dial?: GatewayOptions['dial'];
}

/** A gateway whose listeners stand on this machine's own loopback instead of a namespace's. */
export interface Rig {
  plan: NetworkPlan;
  gateway: Gateway;
  resolver: ReturnType<typeof createTableResolver>;
  lines: ReturnType<typeof createLogbook>['lines'];
  /** Where the listener with this id really stands. */
  at(id: string): { host: string; port: number };
  /** The module connects to a granted name. */
  dialName(name: string, port: number): Promise<Socket>;
  /** The module connects to its SOCKS server. */
  dialSocks(): Promise<Socket>;
}

export async function createRig(options: RigOptions): Promise<Rig> {
  const ask = {
    outbound: options.outbound ?? [],
    outboundAny: options.outboundAny ?? false,
    inbound: options.inbound ?? [],
    udp: options.udp ?? false,
  };
  const { grants } = settleNetwork(ask, { ...ask, private: options.private ?? [] });
  const policy = { ...OPEN_POLICY, ...options.policy };
  const plan = planNetwork(grants, policy);
  const { log, lines } = createLogbook();
  const resolver = createTableResolver(options.names ?? {});
  const gateway = createGateway({
    ...{ module: 'sample', plan, policy, resolver, log, clock: createSystemClock() },
    limits: { ...NETWORK_LIMITS, ...options.limits },
    local: createLocalNetworks(() => ['198.51.100.9/24', '8.8.4.4/24', '2a00:1:2:3::9/64']),
    ...(options.dial === undefined ? {} : { dial: options.dial }),
  });
  onTestFinished(() => gateway.close());
  const places = new Map<string, { host: string; port: number }>();
  for (const { id, kind, purpose } of plan.listeners) {
    // an address literal is the target's own here, where there is but one namespace
    if (purpose.kind === 'target' && purpose.target.kind === 'address') continue;
    const host = '127.0.0.1';
    if (kind === 'tcp') {
      const server = createServer();
      places.set(id, { host, port: await listenOn(server) });
      gateway.attach(id, server);
    } else {
      const socket = createSocket('udp4');
      await new Promise<void>((resolve) => socket.bind(0, host, resolve));
      places.set(id, { host, port: socket.address().port });
      gateway.attach(id, socket);
    }
  }
  const at = (id: string) => {
    const place = places.get(id);
    if (place === undefined) throw new Error(`no listener ${id} among ${[...places.keys()].join(', ')}`);
    return place;
  };
  return {
    ...{ plan, gateway, resolver, lines, at },
    dialName(name, port) {
      const address = plan.hosts.find((line) => line.name === name)?.address;
      return dial(at(`tcp ${address}:${port}`));
    },
    dialSocks: () => dial(at('tcp 127.0.1.1:1080')),
  };
}

export async function listenOn(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A server of the test's own on loopback. */
export async function serve(onConnection: (socket: Socket) => void): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  const port = await listenOn(server);
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port, sockets };
}

/** A UDP server of the test's own on loopback. */
export async function serveUdp(
  onDatagram: (payload: Buffer, reply: (answer: Buffer) => void) => void,
): Promise<{ port: number; socket: DatagramSocket }> {
  const socket = createSocket('udp4');
  socket.on('message', (payload, { address, port }) =>
    onDatagram(payload, (answer) => socket.send(answer, port, address)),
  );
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  onTestFinished(() => void socket.close());
  return { port: socket.address().port, socket };
}

export async function dial(place: { host: string; port: number }): Promise<Socket> {
  const socket = connect({ ...place, allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  // a refusal may come so soon that the connection never seemed to stand
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()).once('close', () => resolve()));
  return socket;
}

/** All bytes until the other side ends, and whether it broke instead. */
export async function readAll(socket: Socket): Promise<{ bytes: Buffer; error: string | undefined }> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => {
    socket.once('end', resolve).once('close', resolve);
    if (socket.destroyed || socket.readableEnded) resolve();
  });
  const error = (socket.errored as NodeJS.ErrnoException | null)?.code;
  return { bytes: Buffer.concat(chunks), error };
}

/** The next `length` bytes; fewer when the other side ends before. */
export async function take(socket: Socket, length: number): Promise<Buffer> {
  return (await readExactly(socket, length, new AbortController().signal)) ?? Buffer.alloc(0);
}

/** SOCKS bytes of a greeting and a request for `host:port`, a name unless it is a literal. */
export function socksRequest(target: string, command = 1): Buffer {
  const { kind, host, port } = parseEndpoint(target);
  const address = kind === 'address' ? parseAddress(host) : undefined;
  const bytes =
    address === undefined
      ? Buffer.concat([Buffer.from([3, host.length]), Buffer.from(host)])
      : Buffer.concat([
          Buffer.from([address.family === 4 ? 1 : 4]),
          Buffer.from(address.value.toString(16).padStart(address.family === 4 ? 8 : 32, '0'), 'hex'),
        ]);
  return Buffer.concat([Buffer.from([5, 1, 0, 5, command, 0]), bytes, Buffer.from([port >> 8, port & 255])]);
}

/** Asks the rig's SOCKS server for a target; answers the reply's code and the socket behind it. */
export async function socksTo(rig: Rig, target: string, command = 1): Promise<{ reply: number; socket: Socket }> {
  const socket = await rig.dialSocks();
  socket.write(socksRequest(target, command));
  const answer = await take(socket, 12);
  return { reply: answer[3] ?? -1, socket };
}

/** Waits until a check holds. */
export async function until(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 5));
}
