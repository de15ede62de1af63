import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { type NetworkAttachment, openNetworkAttachment } from '../../src/process/net-attachment.js';
import { assertNetworkTools, namespaceOf } from '../../src/process/net-namespace.js';
import { findProgram } from '../../src/sandbox/probe.js';
import { requireToolchain } from '../toolchain.js';

const missing = ['ip', 'nsenter', 'unshare', 'python3'].filter((name) => findProgram(name) === undefined);
const { skip } = requireToolchain(
  'network namespaces',
  missing.length === 0 ? { available: true } : { available: false, reason: `${missing.join(', ')} not installed` },
);

/** What a sandbox's outer process is to this room: a network of its own, on which every address is local. */
const NAMESPACE = `ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
ip route add local 0.0.0.0/0 dev lo
exec /usr/bin/python3 -u -c '
import socket
print("up")
server = socket.create_server(("0.0.0.0", 80))
while True:
    client, peer = server.accept()
    text = client.makefile("rb").read()
    client.sendall(("%s %s %s" % (peer[0], peer[1], len(text))).encode())
    client.close()
'`;

/** Processes of this one that run the program of a namespace. */
function programs(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = /^PPid:\s*([0-9]+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
        return parent === String(process.pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('net-program');
      } catch {
        return false;
      }
    });
}

describe.skipIf(skip)('the network that is attached to a sandbox', () => {
  let sandbox: ChildProcess | undefined;
  let attachment: NetworkAttachment | undefined;
  let outer: Server | undefined;
  afterEach(async () => {
    outer?.close();
    await attachment?.close();
    sandbox?.kill('SIGKILL');
    expect(programs()).toEqual([]);
  });
  const inNamespace = async (): Promise<number> => {
    const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
    const child = spawn('unshare', [...user, '--net', 'sh', '-c', NAMESPACE], { stdio: ['ignore', 'pipe', 'inherit'] });
    sandbox = child;
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    return child.pid ?? 0;
  };
  const open = async (
    sandboxPid: number,
    more: Partial<Parameters<typeof openNetworkAttachment>[0]> = {},
  ): Promise<NetworkAttachment> => {
    attachment = await openNetworkAttachment({
      sandboxPid,
      listeners: [],
      inbound: false,
      clock: createSystemClock(),
      log: createSilentLogger(),
      onListener: () => undefined,
      onBroken: () => undefined,
      ...more,
    });
    return attachment;
  };
  /** Connects through a port of this machine, and gives what came back and how the relay told of it. */
  const visit = async (bytes: number): Promise<{ answer: string; told: string[]; port: number }> => {
    const told: string[] = [];
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      attachment?.relay?.carry(socket, 80, {
        connected: (shown) => told.push(shown),
        moved: (sent, received) => told.push(`${sent} ${received}`),
        closed: (code) => told.push(`closed ${code}`),
      });
    });
    outer = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
    const port = await new Promise<number>((resolve) => client.once('connect', () => resolve(client.localPort ?? 0)));
    let answer = '';
    client.on('data', (part) => {
      answer += String(part);
    });
    client.on('error', () => undefined);
    client.end(Buffer.alloc(bytes));
    await new Promise((resolve) => client.once('close', resolve));
    await expect.poll(() => told.at(-1)).toMatch(/^closed/);
    server.close();
    return { answer, told, port };
  };

  it('opens what was planned, and leaves no process behind where nothing comes from outside', async () => {
    const pid = await inNamespace();
    const keys: string[] = [];
    await open(pid, {
      listeners: [
        { key: 'a', transport: 'tcp', address: '198.51.100.1', port: 443 },
        { key: 'b', transport: 'udp', address: '127.0.1.1', port: 53 },
      ],
      onListener: (key, handle) => keys.push(`${key} ${JSON.stringify(handle.address())}`),
    });
    expect(keys.sort()).toEqual([
      'a {"address":"198.51.100.1","family":"IPv4","port":443}',
      'b {"address":"127.0.1.1","family":"IPv4","port":53}',
    ]);
    await expect.poll(programs, { timeout: 10_000 }).toEqual([]);
  });

  it('opens nothing on the network of the host, nor half of a plan', async () => {
    expect(() => namespaceOf(process.pid)).toThrow(HostError);
    await expect(open(process.pid)).rejects.toMatchObject({ reason: 'NETWORK_UNAVAILABLE' });
    const taken = { transport: 'tcp', address: '127.0.0.1', port: 80 } as const;
    const listeners = [
      { ...taken, key: 'free', port: 81 },
      { ...taken, key: 'taken' },
    ];
    await expect(open(await inNamespace(), { listeners })).rejects.toMatchObject({ reason: 'NETWORK_UNAVAILABLE' });
  });

  it('carries half-closed connections whole, is replaced when it dies, and tells when it dies over and over', async () => {
    let broken: HostError | undefined;
    const onBroken = (error: HostError): void => {
      broken = error;
    };
    await open(await inNamespace(), { inbound: true, onBroken });
    const { answer, told, port } = await visit(3_000_000);
    expect(answer).toBe(`127.0.0.1 ${port} 3000000`);
    expect(told[0]).toBe('whole');
    const bytes = told.slice(1, -1).map((line) => line.split(' ').map(Number));
    expect(bytes.reduce((sum, [, received = 0]) => sum + received, 0)).toBe(3_000_000);
    expect(bytes.reduce((sum, [sent = 0]) => sum + sent, 0)).toBe(answer.length);
    expect(told.at(-1)).toBe('closed ');
    const privileges = (pid: number): (string | undefined)[] => {
      const lines = readFileSync(`/proc/${pid}/status`, 'latin1').match(/^(?:CapEff|CapBnd|NoNewPrivs):.*$/gm);
      return lines?.map((line) => line.split('\t')[1]) ?? [];
    };
    const [first = 0] = programs();
    expect(privileges(first).sort()).toEqual(['0'.repeat(16), '0'.repeat(16), '1']);
    process.kill(first, 'SIGKILL');
    await expect.poll(async () => (await visit(1)).answer, { timeout: 20_000 }).toMatch(/ 1$/);
    await expect
      .poll(
        () => {
          for (const pid of programs()) process.kill(pid, 'SIGKILL');
          return broken !== undefined;
        },
        { timeout: 20_000, interval: 100 },
      )
      .toBe(true);
    expect(broken?.reason).toBe('NETWORK_UNAVAILABLE');
    const refused = await visit(1);
    expect(refused).toMatchObject({ answer: '', told: ['closed RELAY_GONE'] });
  });

  it('names the packages that network grants need', () => {
    expect(() => assertNetworkTools('pool', (name) => `/usr/bin/${name}`)).not.toThrow();
    const without = (...gone: string[]): HostError => {
      try {
        assertNetworkTools('pool', (name) => (gone.includes(name) ? undefined : name));
      } catch (error) {
        return error as HostError;
      }
      throw new Error('nothing was missed');
    };
    expect(without('ip')).toMatchObject({ reason: 'NETWORK_UNAVAILABLE', details: { packages: 'iproute2' } });
    expect(without('nsenter', 'unshare', 'ip').details.packages).toBe('util-linux iproute2');
  });
});
