// A module that tries what it is told to try, prints what came of it, and then does as `main.mjs` beside it.
//   TRIES   JSON: a list of { id, ... } as below
//   LISTEN  port on which it answers each connection and datagram with the address that it sees
import { execFile } from 'node:child_process';
import dgram from 'node:dgram';
import net from 'node:net';
import os from 'node:os';
import tls from 'node:tls';

const TIMEOUT_MS = 3_000;

const tcp = ({ host, port, path }) =>
  new Promise((resolve) => {
    const socket = net.connect(path === undefined ? { host, port } : { path });
    socket.setTimeout(TIMEOUT_MS, () => resolve('timeout'));
    socket.on('connect', () => path !== undefined && resolve('connected'));
    socket.on('data', (data) => resolve(String(data).trim()));
    socket.on('end', () => resolve('ended'));
    socket.on('error', (error) => resolve(error.code));
  });

const udp = ({ host, port }) =>
  new Promise((resolve) => {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', (error) => resolve(error.code));
    socket.on('message', (data) => resolve(String(data)));
    socket.connect(port, host, () => socket.send('ping'));
    setTimeout(() => resolve('silence'), TIMEOUT_MS);
  });

const secured = ({ host, port, name }) =>
  new Promise((resolve) => {
    const socket = tls.connect({ host, port, servername: name ?? host, ca: process.env.CA });
    socket.on('error', (error) => resolve(error.code));
    socket.on('data', (data) => resolve(`${socket.authorized} ${String(data).trim()}`));
  });

/** RFC 1928, the name left to the server. */
const socks = ({ host, port }) =>
  new Promise((resolve) => {
    const [address, at] = (process.env.MODHOST_SOCKS ?? '127.0.1.1:1080').split(':');
    const socket = net.connect({ host: address, port: Number(at) });
    socket.on('error', (error) => resolve(error.code));
    socket.on('close', () => resolve('closed'));
    const steps = [
      () =>
        socket.write(
          Buffer.concat([
            Buffer.from([5, 1, 0, 3, host.length]),
            Buffer.from(host),
            Buffer.from([port >> 8, port & 255]),
          ]),
        ),
      (data) => data[1] !== 0 && resolve(`reply ${data[1]}`),
    ];
    socket.on('data', (data) => {
      const step = steps.shift();
      if (step === undefined) resolve(String(data).trim());
      else {
        step(data);
        // what follows the reply may come with it
        if (steps.length === 0 && data.length > 10) resolve(String(data.subarray(10)).trim());
      }
    });
    socket.write(Buffer.from([5, 1, 0]));
  });

const python = ({ code }) =>
  new Promise((resolve) => {
    execFile('/usr/bin/python3', ['-c', code], { timeout: 3 * TIMEOUT_MS }, (_, stdout, stderr) =>
      resolve((stdout || stderr.trim().split('\n').at(-1) || '').trim()),
    );
  });

/** Names of the network devices that there are; without any network the kernel does not even answer. */
const devices = () => {
  try {
    return Object.keys(os.networkInterfaces()).join();
  } catch {
    return 'lo';
  }
};

const kinds = { tcp, udp, tls: secured, socks, python, devices };

const listenOn = Number(process.env.LISTEN ?? 0);
if (listenOn !== 0) {
  const host = process.env.LISTEN_ON ?? '0.0.0.0';
  net
    .createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(`${socket.remoteAddress} ${socket.remotePort}`));
    })
    .listen(listenOn, host);
  const datagrams = dgram.createSocket('udp4');
  datagrams.on('message', (_, { address, port }) => datagrams.send(`${address} ${port}`, port, address));
  datagrams.bind(listenOn, '0.0.0.0');
}

const tries = JSON.parse(process.env.TRIES ?? '[]');
const answers = await Promise.all(tries.map(async ({ id, kind, ...what }) => [id, await kinds[kind](what)]));
process.stdout.write(`RESULT ${JSON.stringify(Object.fromEntries(answers))}\n`);
await import('./main.mjs');
