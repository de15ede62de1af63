// A whole module in one file without any package: inside the sandbox only its own directory is visible. It speaks the few
// messages of a start by hand. What it does is chosen by variables of its manifest:
//   BEHAVIOUR  space-separated steps: handshake, starting, ready, subscribe:N (event types), wait:MS, exit:CODE, signal:NAME,
//              import:FILE, hold (default end: stay until SIGTERM)
//   STUBBORN   any value: SIGTERM is heard and ignored
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';

const say = (text) => process.stdout.write(`${text}\n`);
const client = http2.connect('http://localhost', { createConnection: () => net.connect(process.env.MODHOST_SOCKET) });
client.on('error', (error) => say(`connection: ${error.message}`));

process.on('SIGTERM', () => {
  say('heard SIGTERM');
  if (process.env.STUBBORN === undefined) process.exit(0);
});

/** A length-delimited protobuf field. */
function bytesField(number, value) {
  const bytes = Buffer.from(value);
  if (bytes.length > 127) throw new Error('this module writes one-byte lengths alone');
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

/** A varint field below 128. */
const smallField = (number, value) => Buffer.from([number << 3, value]);

/** One unary call, or the first message of a stream; resolves with the grpc-status. */
function call(path, message, isStream = false) {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  const stream = client.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  return new Promise((resolve, reject) => {
    let status = '?';
    const read = (headers) => {
      if (headers['grpc-status'] !== undefined) status = `${headers['grpc-status']} ${headers['modhost-reason'] ?? ''}`;
    };
    stream.on('response', (headers) => {
      read(headers);
      if (isStream) resolve('open');
    });
    stream.on('trailers', read);
    stream.on('data', () => {});
    stream.on('end', () => {
      if (isStream) say(`stream ended: ${status}`);
      resolve(status.trim());
    });
    stream.on('error', reject);
    stream.end(frame);
  });
}

const steps = {
  async handshake() {
    const token = readFileSync(process.env.MODHOST_TOKEN_FILE);
    const request = Buffer.concat([
      bytesField(1, token),
      bytesField(2, process.env.MODHOST_MODULE_ID),
      bytesField(3, process.env.VERSION ?? '1.0.0'),
      smallField(4, 1),
      smallField(5, 1),
    ]);
    say(`handshake: ${await call('/modhost.v1.SessionService/Handshake', request)}`);
  },
  async starting() {
    say(`starting: ${await call('/modhost.v1.SessionService/Starting', smallField(1, 50))}`);
  },
  async ready() {
    say(`ready: ${await call('/modhost.v1.SessionService/Ready', Buffer.alloc(0))}`);
  },
  async subscribe(type) {
    const message = Buffer.from([(1 << 3) | 2, type.split(',').length, ...type.split(',').map(Number)]);
    say(`subscribe: ${await call('/modhost.v1.EventService/Subscribe', message, true)}`);
  },
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, Number(ms))),
  exit: (code) => process.exit(Number(code)),
  signal: (name) => {
    process.kill(process.pid, name);
    return new Promise(() => {});
  },
  // runs another file of the module, with the means of this one
  import: async (file) => (await import(`./${file}`)).default({ call, say }),
  hold: () => new Promise((resolve) => setTimeout(resolve, 2 ** 31 - 1)),
};

for (const step of `${process.env.BEHAVIOUR ?? 'handshake ready'} hold`.split(' ')) {
  const [name, ...args] = step.split(':');
  await steps[name](...args);
}
