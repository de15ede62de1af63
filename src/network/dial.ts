import { connect, type Socket } from 'node:net';
import type { Address } from './address-policy.js';

/** Opens one TCP connection to an address that was judged before; never resolves anything. */
export type DialAddress = (address: Address, port: number, signal: AbortSignal) => Promise<Socket>;

/** Wait before the next address is tried beside the one under way, milliseconds: RFC 8305, section 5. */
const STAGGER_MS = 250;
/** Addresses of one name that are tried. */
const MAX_ATTEMPTS = 8;

/** Dials from the host's own network. Rejects with the system's error, or the signal's reason. */
export const dialDirectly: DialAddress = (address, port, signal) =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket = connect({ host: address.text, port, allowHalfOpen: true });
    const onAbort = (): void => {
      socket.destroy();
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      resolve(socket);
    });
    // stays: an error between this moment and the next owner must not end the host
    socket.on('error', (error) => {
      signal.removeEventListener('abort', onAbort);
      reject(error);
    });
  });

/** The first of several addresses that answered, or the code of the first failure. */
export type FirstAnswer = { readonly socket: Socket; readonly address: Address } | { readonly code: string };

/**
 * Dials addresses in their order, the next one as soon as one has failed or a quarter of a second has passed; keeps the
 * first connection and calls off the rest.
 */
export function dialFirst(
  addresses: readonly Address[],
  port: number,
  dial: DialAddress,
  signal: AbortSignal,
): Promise<FirstAnswer> {
  return new Promise((resolve) => {
    const rest = addresses.slice(0, MAX_ATTEMPTS);
    const attempts = new AbortController();
    const onAbort = (): void => attempts.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    let running = 0;
    let code: string | undefined;
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const finish = (answer: FirstAnswer): void => {
      over = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      attempts.abort();
      resolve(answer);
    };
    const next = (): void => {
      clearTimeout(timer);
      const address = rest.shift();
      if (address === undefined) {
        if (running === 0) finish({ code: code ?? 'ETIMEDOUT' });
        return;
      }
      running += 1;
      timer = setTimeout(next, STAGGER_MS);
      dial(address, port, attempts.signal).then(
        (socket) => {
          if (over) socket.destroy();
          else finish({ socket, address });
        },
        (error: NodeJS.ErrnoException) => {
          running -= 1;
          code ??= signal.aborted ? 'ETIMEDOUT' : (error?.code ?? 'UNKNOWN');
          if (!over) next();
        },
      );
    };
    next();
  });
}
