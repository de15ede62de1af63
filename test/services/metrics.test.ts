import { describe, expect, it } from 'vitest';
import type { GetAllMetricsResponse, GetModuleMetricsResponse, Metric } from '../../gen/ts/modhost/v1/metrics.js';
import { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createMetricsService } from '../../src/services/metrics.js';
import { createMetricsBook, MAX_METRIC_SERIES } from '../../src/services/metrics-book.js';
import { createCallQuota } from '../../src/session/quota.js';
import type { Session } from '../../src/session/session.js';

const clock = createSystemClock();
const context = {} as never;

const rig = () => {
  const book = createMetricsBook(clock);
  const open = (moduleId: string) => {
    const end = new AbortController();
    const quota = createCallQuota({ ratePerSecond: 1, burst: 1_000, maxInFlight: 10 }, clock);
    const session = { identity: { moduleId }, ended: end.signal, quota } as unknown as Session;
    const service = createMetricsService(session, { book, modules: () => ['relay', 'miner', 'idle'] });
    return {
      report: (...metrics: Metric[]) => service.report({ metrics }, context),
      read: (module: string, pageSize = 0, pageToken = '') =>
        service.getModuleMetrics({ module, pageSize, pageToken }, context) as Promise<GetModuleMetricsResponse>,
      readAll: (pageSize = 0, pageToken = '') =>
        service.getAllMetrics({ pageSize, pageToken }, context) as Promise<GetAllMetricsResponse>,
      end: () => end.abort(new HostError('SESSION_CLOSED', 'over')),
    };
  };
  return { book, open };
};

const metric = (name: string, value: Metric['value'], labels: Record<string, string> = {}, help = ''): Metric => ({
  name,
  labels: Object.entries(labels).map(([label, text]) => ({ name: label, value: text })),
  value,
  timeUnixMs: 0n,
  help,
});
const counter = (name: string, value: bigint, labels?: Record<string, string>, help?: string): Metric =>
  metric(name, { $case: 'counter', value }, labels, help);
const gauge = (name: string, value: number, labels?: Record<string, string>): Metric =>
  metric(name, { $case: 'gauge', value }, labels);
const histogram = (name: string, buckets: [number, bigint][], count: bigint, sum = 1): Metric =>
  metric(name, {
    $case: 'histogram',
    value: { buckets: buckets.map(([upperBound, n]) => ({ upperBound, count: n })), count, sum },
  });
const reasonOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => HostError.from(error).reason,
  );

describe('a report', () => {
  it('sets series to their present values; the last value of one counts, and labels in any order are the same', async () => {
    const { report, read } = rig().open('relay');
    expect(
      await report(
        gauge('peers', 3, { kind: 'in', net: 'onion' }),
        gauge('peers', 4, { net: 'onion', kind: 'in' }),
        counter('blocks_total', 1n, {}, 'blocks relayed'),
      ),
    ).toEqual({ series: 2 });
    expect(await report(counter('blocks_total', 5n, { empty: '' }, 'another text'))).toEqual({ series: 2 });
    const { metrics } = await read('relay');
    expect(metrics).toMatchObject([
      { name: 'blocks_total', value: { $case: 'counter', value: 5n }, help: 'blocks relayed', labels: [] },
      { name: 'peers', value: { $case: 'gauge', value: 4 }, labels: [{ name: 'kind' }, { name: 'net' }] },
    ]);
    expect(metrics[0]?.timeUnixMs).toBeGreaterThan(1_600_000_000_000n);
  });

  it('is refused as a whole, so that nothing of it is kept', async () => {
    const { report, read } = rig().open('relay');
    await report(counter('sent_total', 7n));
    const cases: [string, Metric[]][] = [
      ['FIELD_REQUIRED', []],
      ['FIELD_REQUIRED', [gauge('', 1)]],
      ['FIELD_REQUIRED', [metric('x', undefined)]],
      ['INVALID_REQUEST', [gauge('Peers', 1)]],
      ['INVALID_REQUEST', [gauge('a'.repeat(129), 1)]],
      ['INVALID_REQUEST', [gauge('x{y="z"} 1\n', 1)]],
      ['INVALID_REQUEST', [gauge('x', 1, { module: 'miner' })]],
      ['INVALID_REQUEST', [gauge('x', 1, { le: '1' })]],
      ['INVALID_REQUEST', [gauge('x', 1, { 'two words': '1' })]],
      ['INVALID_REQUEST', [gauge('x', 1, { kind: 'a\nb' })]],
      ['INVALID_REQUEST', [gauge('x', 1, { kind: 'v'.repeat(257) })]],
      ['INVALID_REQUEST', [counter('x', 1n, {}, 'help\u001b[2J')]],
      ['INVALID_REQUEST', [{ ...gauge('x', 1), labels: [label('a', '1'), label('a', '2')] }]],
      ['INVALID_REQUEST', [gauge('sent_total', 8)]],
      ['INVALID_REQUEST', [gauge('x', 1), counter('x', 1n, { kind: 'a' })]],
      [
        'INVALID_REQUEST',
        [
          histogram(
            'h',
            [
              [1, 2n],
              [1, 3n],
            ],
            3n,
          ),
        ],
      ],
      [
        'INVALID_REQUEST',
        [
          histogram(
            'h',
            [
              [1, 3n],
              [2, 2n],
            ],
            3n,
          ),
        ],
      ],
      ['INVALID_REQUEST', [histogram('h', [[1, 3n]], 2n)]],
      ['OUT_OF_RANGE', [gauge('x', Number.NaN)]],
      ['OUT_OF_RANGE', [gauge('x', Number.POSITIVE_INFINITY)]],
      ['OUT_OF_RANGE', [histogram('h', [[Number.POSITIVE_INFINITY, 1n]], 1n)]],
      ['OUT_OF_RANGE', [histogram('h', [], 1n, Number.NaN)]],
      [
        'OUT_OF_RANGE',
        [
          histogram(
            'h',
            Array.from({ length: 65 }, (_, i) => [i, 0n]),
            1n,
          ),
        ],
      ],
      ['OUT_OF_RANGE', [counter('sent_total', 6n)]],
      ['OUT_OF_RANGE', [counter('x_total', 2n), counter('x_total', 1n)]],
      ['OUT_OF_RANGE', [gauge('x', 1, Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`l${i}`, '1'])))]],
    ];
    for (const [reason, bad] of cases) {
      expect(
        await reasonOf(report(gauge('new', 1), counter('sent_total', 9n), ...bad)),
        JSON.stringify(bad, plain),
      ).toBe(bad.length === 0 ? 'OK' : reason);
      if (bad.length === 0) expect(await reasonOf(report())).toBe(reason);
    }
    expect((await read('relay')).metrics.map(({ name }) => name)).toEqual(['new', 'sent_total']);
  });

  it('C159: with ever new names or labels is refused at the thousandth series, and the others stay', async () => {
    const { open } = rig();
    const [flood, other] = [open('relay'), open('miner')];
    await other.report(gauge('hashrate', 1));
    let refused = 0;
    for (let i = 0; i < 3_000; i++) {
      const reason = await reasonOf(flood.report(gauge(i % 2 === 0 ? `n${i}` : 'labelled', 1, { i: `${i}` })));
      if (reason === 'QUOTA_EXCEEDED') refused += 1;
      else expect(reason).toBe('OK');
    }
    expect(refused).toBe(3_000 - MAX_METRIC_SERIES);
    expect(await flood.report(gauge('n0', 2, { i: '0' }))).toEqual({ series: MAX_METRIC_SERIES });
    expect(await other.report(gauge('hashrate', 2), gauge('shares', 1))).toEqual({ series: 2 });
  });
});

it('C159: a large report costs more of the budget than a small one', async () => {
  const { report } = rig().open('relay');
  const large = Array.from({ length: 1_000 }, (_, i) => gauge('x', i, { a: `${i}`, b: '1', c: '2', d: '3' }));
  let taken = 0;
  while ((await reasonOf(report(...large))) === 'OK') taken += 1;
  expect(taken).toBe(20);
  expect(await reasonOf(report(...large))).toBe('RATE_LIMITED');
  expect(await reasonOf(report(gauge('y', 1)))).toBe('QUOTA_EXCEEDED');
});

describe('series', () => {
  it('vanish with the session, and a late end of the one before takes nothing from its successor', async () => {
    const { open, book } = rig();
    const first = open('relay');
    await first.report(counter('sent_total', 7n));
    const second = open('relay');
    await second.report(counter('sent_total', 1n));
    first.end();
    expect((await second.read('relay')).metrics).toHaveLength(1);
    expect(await reasonOf(first.report(counter('sent_total', 8n)))).toBe('SESSION_CLOSED');
    second.end();
    expect(book.modules()).toEqual([]);
  });

  it('come in pages that miss nothing and repeat nothing, whatever the size, within a message', async () => {
    const { open } = rig();
    const [relay, miner] = [open('relay'), open('miner')];
    const long = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`label_${i}`, 'v'.repeat(256)]));
    for (let i = 0; i < MAX_METRIC_SERIES; i++) await relay.report(gauge('wide', i, { ...long, label_0: `${i}` }));
    await miner.report(gauge('b', 1), gauge('a', 1, { x: '2' }), gauge('a', 1, { x: '10' }), gauge('a', 1));
    for (const size of [1_000, 333, 1]) {
      const seen: string[] = [];
      let token = '';
      do {
        const page = await relay.readAll(size, token);
        const count = page.modules.reduce((sum, { metrics }) => sum + metrics.length, 0);
        expect(count).toBeGreaterThan(0);
        expect(count).toBeLessThanOrEqual(Math.min(size, 250));
        for (const { module, metrics } of page.modules) {
          for (const { name, labels } of metrics) seen.push(`${module} ${name} ${labels[0]?.value ?? ''}`);
        }
        token = page.nextPageToken;
      } while (token !== '');
      expect(new Set(seen).size).toBe(MAX_METRIC_SERIES + 4);
      expect(seen).toHaveLength(MAX_METRIC_SERIES + 4);
      expect(seen.slice(0, 4)).toEqual(['miner a ', 'miner a 10', 'miner a 2', 'miner b ']);
    }
  });

  it('of one module are given to those who ask for it by its name, with a near one for a slip', async () => {
    const { open } = rig();
    const { report, read, readAll } = open('relay');
    await report(gauge('a', 1), gauge('b', 2));
    const page = await read('relay', 1);
    expect(page.metrics).toMatchObject([{ name: 'a' }]);
    expect(await read('relay', 1, page.nextPageToken)).toMatchObject({ metrics: [{ name: 'b' }], nextPageToken: '' });
    expect(await read('idle')).toEqual({ metrics: [], nextPageToken: '' });
    expect(await reasonOf(read(''))).toBe('FIELD_REQUIRED');
    expect(await reasonOf(read('rely'))).toBe('MODULE_NOT_FOUND');
    await expect(read('rely')).rejects.toThrow(/relay/);
    for (const token of ['x', 'after:', 'after:relay:', `${page.nextPageToken}=`, 'after:relay:YQ', 'after:!!']) {
      expect(await reasonOf(read('relay', 0, token)), token).toBe('INVALID_REQUEST');
    }
    expect(await reasonOf(readAll(0, page.nextPageToken))).toBe('INVALID_REQUEST');
    expect(await reasonOf(readAll(1_001))).toBe('OUT_OF_RANGE');
  });
});

function label(name: string, value: string) {
  return { name, value };
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}` : value;
}
