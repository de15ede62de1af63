import type { ServerHttp2Stream } from 'node:http2';
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createTurnstile } from '../../src/ipc/turnstile.js';

const stream = (): ServerHttp2Stream => new PassThrough() as unknown as ServerHttp2Stream;

describe('the turnstile of one session', () => {
  it('C159: lets a few streams in per turn of the event loop, in their order', async () => {
    const turnstile = createTurnstile(3);
    const begun: number[] = [];
    for (let n = 0; n < 8; n += 1) turnstile.enter(stream(), () => begun.push(n));
    expect(begun).toEqual([0, 1, 2]);
    await turn();
    expect(begun).toEqual([0, 1, 2, 3, 4, 5]);
    turnstile.enter(stream(), () => begun.push(8));
    await turn();
    expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it('C159: holds nobody for what another session does', async () => {
    const [flooded, quiet] = [createTurnstile(1), createTurnstile(1)];
    let begun = '';
    for (let n = 0; n < 5; n += 1) flooded.enter(stream(), () => (begun += 'f'));
    quiet.enter(stream(), () => (begun += 'q'));
    expect(begun).toBe('fq');
    for (let n = 0; n < 5; n += 1) await turn();
    expect(begun).toBe('fqffff');
  });

  it('C159: holds what stands behind a call that was refused for its volume, and lets it in all the same', async () => {
    const turnstile = createTurnstile(2);
    const begun: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      turnstile.enter(stream(), () => {
        begun.push(n);
        if (n === 0) turnstile.refused();
      });
    }
    await turn();
    await turn();
    expect(begun).toEqual([0]);
    await expect.poll(() => begun).toEqual([0, 1, 2, 3]);
  });

  it('C159: never begins what was given up while it waited, nor fails over it, and it costs no turn', async () => {
    const turnstile = createTurnstile(1);
    const begun: number[] = [];
    const streams = Array.from({ length: 100 }, stream);
    for (const [n, one] of streams.entries()) turnstile.enter(one, () => begun.push(n));
    for (const one of streams.slice(1, 99)) one.destroy(new Error('reset by the peer'));
    await turn();
    expect(begun).toEqual([0, 99]);
  });
});
