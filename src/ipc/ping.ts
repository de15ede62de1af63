import type { ServerHttp2Session } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import type { Clock } from '../core/clock.js';
import { createPatientTimer } from '../core/patient-timer.js';

/** Asks the peers of a server whether they still answer. */
export interface Pinger {
  /**
   * Pings every connection; true as soon as one has answered, and when there is none to ask. A peer that is stopped or
   * hangs in its transport does not answer, though the kernel still takes the bytes.
   */
  ping(timeoutMs: number): Promise<boolean>;
}

interface ServerInternals {
  http2Servers?: ReadonlyMap<{ on(event: 'session', listener: (session: ServerHttp2Session) => void): void }, unknown>;
}

/**
 * Makes the pinger of a gRPC server. The library tells nobody of its HTTP/2 sessions, and its table of HTTP/2 servers is
 * no public door; a test holds this place when the library changes. Call it after the server has made its connection
 * injector.
 */
export function createPinger(grpc: Server, clock: Clock): Pinger {
  const { http2Servers } = grpc as unknown as ServerInternals;
  if (!(http2Servers instanceof Map) || http2Servers.size === 0) {
    throw new Error('this release of grpc-js keeps its HTTP/2 servers elsewhere');
  }
  const sessions = new Set<ServerHttp2Session>();
  for (const server of http2Servers.keys()) {
    server.on('session', (session: ServerHttp2Session) => {
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
  }
  return {
    async ping(timeoutMs) {
      const live = [...sessions].filter((session) => !session.closed && !session.destroyed);
      if (live.length === 0) return true;
      return new Promise<boolean>((resolve) => {
        const timer = createPatientTimer(clock, timeoutMs, () => resolve(false));
        for (const session of live) {
          // false, without a callback, when many pings are out without an answer: the peer is as silent as it was
          session.ping((error) => {
            if (error !== null) return;
            timer.clear();
            resolve(true);
          });
        }
      });
    },
  };
}
