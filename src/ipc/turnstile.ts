import type { ServerHttp2Stream } from 'node:http2';

/**
 * Calls and streams of one session that begin in one turn of the event loop. A call costs grpc-js 0.2 to 0.5 ms before any
 * work is done, and a session may have 400 of them waiting: begun at once they would keep the loop, and with it every other
 * module, for a tenth of a second and more. On an idle host turns follow each other within microseconds, so nobody who
 * behaves notices.
 */
const STREAMS_PER_TURN = 2;
/**
 * After a refusal for its volume, how long the session's further calls wait, milliseconds. A refusal costs the host as much
 * as an answer, so a module that never waits as it is told would get the whole loop by being refused. What it may do it
 * can still do: its budget fills meanwhile.
 */
const REFUSED_PAUSE_MS = 20;

/** Lets the streams of one session in, a few in each turn of the event loop, in their order. */
export interface Turnstile {
  /** Calls `begin` now or in a later turn; never, when the stream has ended by then. */
  enter(stream: ServerHttp2Stream, begin: () => void): void;
  /** A call of the session was refused for its volume: those behind it wait a little. */
  refused(): void;
}

/**
 * Makes the turnstile of one session. What waits is bounded by the streams that its connections may have open; a stream
 * that is given up while it waits costs nothing.
 */
export function createTurnstile(perTurn: number = STREAMS_PER_TURN): Turnstile {
  let waiting: { stream: ServerHttp2Stream; begin: () => void }[] = [];
  let left = perTurn;
  let coming = false;
  let pause: NodeJS.Timeout | undefined;

  const turn = (): void => {
    coming = false;
    if (pause !== undefined) return;
    left = perTurn;
    let next = 0;
    for (; next < waiting.length && left > 0 && pause === undefined; next += 1) {
      const { stream, begin } = waiting[next] as (typeof waiting)[number];
      if (stream.destroyed || stream.aborted) continue;
      left -= 1;
      begin();
    }
    if (next > 0) waiting = waiting.slice(next);
    if (left < perTurn) come();
  };
  const come = (): void => {
    if (!coming) setImmediate(turn);
    coming = true;
  };
  return {
    enter(stream, begin) {
      if (waiting.length === 0 && left > 0 && pause === undefined) {
        come();
        left -= 1;
        begin();
        return;
      }
      // nobody else listens while it waits, and an error without a listener would end the host
      stream.on('error', () => {});
      waiting.push({ stream, begin });
    },
    refused() {
      pause ??= setTimeout(() => {
        pause = undefined;
        come();
      }, REFUSED_PAUSE_MS);
    },
  };
}
