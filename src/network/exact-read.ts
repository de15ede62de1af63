import type { Socket } from 'node:net';

/**
 * Reads exactly `length` bytes, 1 to 255, and leaves what follows in the socket. Undefined when it ends or breaks before, or
 * the signal aborts.
 */
export function readExactly(socket: Socket, length: number, signal: AbortSignal): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const done = (answer: Buffer | undefined): void => {
      socket.off('readable', attempt).off('end', gone).off('close', gone).off('error', gone);
      signal.removeEventListener('abort', gone);
      resolve(answer);
    };
    const gone = (): void => done(undefined);
    const attempt = (): void => {
      const bytes = socket.read(length) as Buffer | null;
      // at the end of the stream read() gives what is left, however little
      if (bytes !== null) done(bytes.length === length ? bytes : undefined);
      else if (socket.readableEnded || socket.destroyed) gone();
    };
    if (signal.aborted) {
      resolve(undefined);
      return;
    }
    signal.addEventListener('abort', gone, { once: true });
    socket.on('readable', attempt).on('end', gone).on('close', gone).on('error', gone);
    attempt();
  });
}
