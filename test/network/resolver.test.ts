import { describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import { bytesOfAddress, parseAddress } from '../../src/network/address-policy.js';
import { createPlaces } from '../../src/network/places.js';
import { createNameResolver } from '../../src/network/resolver.js';
import { serveUdp } from './rig.js';

describe('the resolver', () => {
  it('sees names as programs of this machine do, and answers with nothing where there is nothing', async () => {
    const resolver = createNameResolver(createSystemClock());
    const texts = (await resolver.lookup('localhost')).map(({ text }) => text);
    expect(texts.some((text) => text === '127.0.0.1' || text === '::1')).toBe(true);
    expect(await resolver.lookup('a..example')).toEqual([]);
  });
});

/** A name server that knows one name: a header, the question as it came, and answers that point back at its name. */
async function serveNames(table: Record<string, { a: string[]; aaaa: string[] }>) {
  const asked: string[] = [];
  const { port } = await serveUdp((query, reply) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.subarray(at + 1, at + 1 + length).toString());
      at += length + 1;
    }
    const name = labels.join('.');
    const type = query.readUInt16BE(at + 1);
    asked.push(name);
    const texts = (type === 28 ? table[name]?.aaaa : table[name]?.a) ?? [];
    const answers = texts.map((text) => {
      const bytes = bytesOfAddress(parseAddress(text) ?? expect.fail(text));
      return Buffer.concat([Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 1, 0, bytes.length]), bytes]);
    });
    const head = Buffer.from([0x81, table[name] === undefined ? 0x83 : 0x80, 0, 1, 0, answers.length, 0, 0, 0, 0]);
    reply(Buffer.concat([query.subarray(0, 2), head, query.subarray(12, at + 5), ...answers]));
  });
  return { asked, server: `127.0.0.1:${port}` };
}

describe('a query', () => {
  it('asks the name servers for both families, which take turns, and takes the name as complete', async () => {
    const table = { 'two.example': { a: ['9.9.9.9', '10.0.0.1'], aaaa: ['2606:4700::1'] } };
    const { server, asked } = await serveNames(table);
    const resolver = createNameResolver(createSystemClock(), [server]);
    const texts = (await resolver.query('two.example')).map(({ text }) => text);
    expect([texts[0], texts[1], [...texts].sort()]).toEqual([
      ...['2606:4700::1', expect.any(String)],
      ['10.0.0.1', '2606:4700::1', '9.9.9.9'],
    ]);
    expect(await resolver.query('none.example')).toEqual([]);
    expect(await resolver.query('single')).toEqual([]);
    expect(new Set(asked)).toEqual(new Set(['two.example', 'none.example', 'single']));
  });
});

describe('places', () => {
  it('are bounded, and so is the line before them', async () => {
    const places = createPlaces(2, 1);
    const running: (() => void)[] = [];
    let most = 0;
    let now = 0;
    const work = () =>
      places.run(async () => {
        now += 1;
        most = Math.max(most, now);
        await new Promise<void>((resolve) => running.push(resolve));
        now -= 1;
        return 'done';
      });
    const answers = [work(), work(), work(), work()];
    expect(await answers[3]).toBeUndefined();
    while (running.length > 0) {
      running.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await Promise.all(answers)).toEqual(['done', 'done', 'done', undefined]);
    expect(most).toBe(2);
    await expect(places.run(() => Promise.reject(new Error('broken')))).rejects.toThrow();
    const again = work();
    await new Promise((resolve) => setImmediate(resolve));
    running.shift()?.();
    expect(await again).toBe('done');
  });
});
