import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Ports below those that the kernel gives to outgoing connections (32768 and up, ip(7) `ip_local_port_range`): a port of
 * that range that was free a moment ago may be some connection's own end a moment later.
 */
const [FIRST, LAST] = [12_000, 32_000];
/** Ports that may be taken before it is given up. */
const ATTEMPTS = 50;

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const server = createServer();
    const port = randomInt(FIRST, LAST);
    server.listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error(`no free port among ${ATTEMPTS} between ${FIRST} and ${LAST}`);
}
