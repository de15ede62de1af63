import { afterEach, describe, expect, it } from 'vitest';
import type { Metric } from '../../gen/ts/modhost/v1/metrics.js';
import { MetricsServiceClient } from '../../gen/ts/modhost/v1/metrics.js';
import { TimerServiceClient } from '../../gen/ts/modhost/v1/timer.js';
import { writeSeries } from '../../src/admin/prometheus-series.js';
import { cleanUp, client, external, ready } from '../host/host-rig.js';
import { unary } from '../ipc/rig.js';
import { requireToolchain } from '../toolchain.js';
import { type ParsedFamily, parse, parserPresence } from './parser.js';

afterEach(cleanUp);

const metric = (name: string, value: Metric['value'], labels: Record<string, string> = {}, help = ''): Metric => ({
  name,
  labels: Object.entries(labels).map(([label, text]) => ({ name: label, value: text })),
  value,
  timeUnixMs: 0n,
  help,
});
const gauge = (name: string, value: number, labels?: Record<string, string>, help?: string): Metric =>
  metric(name, { $case: 'gauge', value }, labels, help);
const counter = (name: string, value: bigint): Metric => metric(name, { $case: 'counter', value });

const family = (families: readonly ParsedFamily[], name: string): ParsedFamily | undefined =>
  families.find((found) => found.name === name);
/** The value of one sample; NaN when there is none. */
const sampleOf = (families: readonly ParsedFamily[], name: string, labels: Record<string, string> = {}): number => {
  const found = families
    .flatMap(({ samples }) => samples)
    .find(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([label, text]) => sample.labels[label] === text),
    );
  return Number(found?.value);
};

describe.skipIf(requireToolchain("Prometheus' parser", await parserPresence()).skip)('the text for Prometheus', () => {
  it('is read by Prometheus’ own parser, with the numbers of host, node and module', async () => {
    const rig = await external(['report_metrics', 'manage_timers']);
    const socket = await rig.open('probe');
    await ready(socket);
    const metrics = [
      gauge('job_age_seconds', -0.25, { pool: 'a "quoted" \\ back\\slash', host: 'ünïcödé 🟠' }, 'age of "the" job \\'),
      gauge('tiny', 1e-300),
      gauge('huge', 1.7e308),
      counter('shares_accepted_total', 2n ** 63n),
      metric('latency_seconds', {
        $case: 'histogram',
        value: {
          buckets: [
            { upperBound: -1, count: 0n },
            { upperBound: 0.005, count: 2n },
            { upperBound: 1e21, count: 3n },
          ],
          count: 4n,
          sum: 12.5,
        },
      }),
    ];
    await unary((done) => client(MetricsServiceClient, socket).report({ metrics }, done as never));
    await unary((done) =>
      client(TimerServiceClient, socket).registerTimer({ intervalMs: 60_000, name: '' }, done as never),
    );
    const { contentType, text } = await rig.host.control.metrics();
    expect(contentType).toMatch(/^text\/plain; version=0\.0\.4; charset=utf-8$/);
    const families = await parse(text);
    const module = { module: 'probe' };
    expect(sampleOf(families, 'modhost_up', module)).toBe(1);
    expect(sampleOf(families, 'modhost_state', { ...module, state: 'running' })).toBe(1);
    expect(sampleOf(families, 'modhost_unsigned', module)).toBe(1);
    expect(sampleOf(families, 'modhost_timers', module)).toBe(1);
    expect(sampleOf(families, 'modhost_series', module)).toBe(5);
    expect(sampleOf(families, 'modhost_series_hidden', module)).toBe(0);
    expect(sampleOf(families, 'modhost_calls_total', { ...module, outcome: 'allowed' })).toBeGreaterThan(1);
    expect(sampleOf(families, 'modhost_node_reachable')).toBe(1);
    expect(sampleOf(families, 'modhost_process_resident_memory_bytes')).toBeGreaterThan(1e6);
    expect(sampleOf(families, 'modhost_process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(sampleOf(families, 'modhost_disk_free_bytes', { holds: 'data' })).toBeGreaterThan(0);
    expect(family(families, 'modhost_module_job_age_seconds')).toEqual({
      name: 'modhost_module_job_age_seconds',
      type: 'gauge',
      help: 'age of "the" job \\',
      samples: [
        {
          name: 'modhost_module_job_age_seconds',
          labels: { module: 'probe', pool: 'a "quoted" \\ back\\slash', host: 'ünïcödé 🟠' },
          value: '-0.25',
        },
      ],
    });
    expect(sampleOf(families, 'modhost_module_shares_accepted_total', module)).toBe(2 ** 63);
    expect(family(families, 'modhost_module_latency_seconds')).toMatchObject({ type: 'histogram' });
    expect(sampleOf(families, 'modhost_module_latency_seconds_bucket', { le: '0.005' })).toBe(2);
    expect(sampleOf(families, 'modhost_module_latency_seconds_bucket', { le: '+Inf' })).toBe(4);
    expect(sampleOf(families, 'modhost_module_huge', module)).toBe(1.7e308);
    // what a module's name says of itself cannot be said by another
    const names = families.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);

    await rig.host.unload('probe');
    const after = await parse((await rig.host.control.metrics()).text);
    expect(sampleOf(after, 'modhost_up', module)).toBe(0);
    expect(after.filter(({ name }) => name.startsWith('modhost_module_'))).toEqual([]);
  });

  it('has numbers of its own for each host of a process', async () => {
    const [one, two] = [await external(), await external()];
    const read = async (rig: typeof one) => parse((await rig.host.control.metrics()).text);
    await one.devchain.control.mine(1);
    expect(sampleOf(await read(two), 'modhost_node_height')).toBe(0);
    expect(sampleOf(await read(one), 'modhost_node_height')).toBe(1);
  });

  it('gives a name one kind and a sample one meaning; what does not go with it is left out and counted', async () => {
    const buckets = [{ upperBound: 1, count: 1n }];
    const { text, hidden } = await writeSeries([
      {
        module: 'a',
        metrics: [
          metric('lag', { $case: 'histogram', value: { buckets, count: 1n, sum: 1 } }),
          gauge('lag_sum', 3),
          gauge('size', 1),
        ],
      },
      { module: 'b', metrics: [gauge('lag_count', 1), counter('size', 5n), gauge('own', 1)] },
      { module: 'c', metrics: [gauge('size', 2, {}, 'the size')] },
    ]);
    const families = await parse(text);
    expect(families.map(({ name, type }) => `${type} ${name}`)).toEqual([
      'histogram modhost_module_lag',
      'gauge modhost_module_size',
      'gauge modhost_module_own',
    ]);
    expect(family(families, 'modhost_module_size')).toMatchObject({ help: 'the size', samples: [{}, {}] });
    expect(Object.fromEntries(hidden)).toEqual({ a: 1, b: 2 });
  });

  it('C159: is bounded whatever a module reports, and the others’ series stay', async () => {
    const labels = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`label_${i}`, 'v'.repeat(256)]));
    const buckets = Array.from({ length: 64 }, (_, i) => ({ upperBound: i, count: BigInt(i) }));
    const wide = Array.from({ length: 1_000 }, (_, i) =>
      metric('wide', { $case: 'histogram', value: { buckets, count: 64n, sum: i } }, { ...labels, label_0: `${i}` }),
    );
    const { text, hidden } = await writeSeries([
      { module: 'flood', metrics: wide },
      { module: 'other', metrics: [gauge('fine', 1)] },
    ]);
    expect(text.length).toBeLessThan(2 * 1024 * 1024);
    expect(hidden.get('flood')).toBeGreaterThan(900);
    expect(hidden.has('other')).toBe(false);
    expect(sampleOf(await parse(text), 'modhost_module_fine', { module: 'other' })).toBe(1);
  });
});
