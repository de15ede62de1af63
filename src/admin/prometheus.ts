import { Counter, Gauge, Registry } from 'prom-client';
import type { NodeStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { MODULE_FAMILIES, type ModuleNumbers } from './prometheus-modules.js';
import { createProcessGauge, type ProcessNumbers } from './prometheus-process.js';
import { type ReportedSeries, writeSeries } from './prometheus-series.js';

/** Free space where the host keeps things. */
export interface DiskNumbers {
  /** What is on the disk: `data`, `sockets`. */
  readonly holds: string;
  readonly availableBytes: number;
  readonly totalBytes: number;
}

/** Where the numbers of a host come from. */
export interface MetricsSource {
  readonly version: string;
  node(): Promise<NodeStatus>;
  modules(): readonly Pick<ModuleNumbers, 'status' | 'invocationsOpen'>[];
  /** What modules measure themselves; modules ascending. */
  series(): readonly ReportedSeries[];
  /** Events that the hub has published to anybody. */
  eventsPublished(): bigint;
  /** Empty while nothing was measured. */
  disks(): readonly DiskNumbers[];
}

/** A page for Prometheus. */
export interface MetricsPage {
  /** Media type with the version of the text form. */
  readonly contentType: string;
  readonly text: string;
}

/** The numbers of one host, for Prometheus. */
export interface PrometheusPage {
  render(): Promise<MetricsPage>;
  close(): void;
}

interface HostFacts {
  readonly process: ProcessNumbers;
  readonly node: NodeStatus;
  readonly source: MetricsSource;
}

type HostFamily = readonly [
  kind: 'counter' | 'gauge',
  name: string,
  help: string,
  read: (facts: HostFacts) => number | bigint,
];

/** The host's numbers that stand for themselves. */
const HOST_FAMILIES: readonly HostFamily[] = [
  ['counter', 'modhost_process_cpu_seconds_total', "The host's processor time.", ({ process }) => process.cpuSeconds],
  ['gauge', 'modhost_process_resident_memory_bytes', "The host's memory.", ({ process }) => process.residentBytes],
  ['gauge', 'modhost_process_heap_bytes', 'JavaScript heap in use.', ({ process }) => process.heapUsedBytes],
  ['gauge', 'modhost_process_external_bytes', 'Buffers outside of that heap.', ({ process }) => process.externalBytes],
  ['gauge', 'modhost_process_open_fds', "The host's open files.", ({ process }) => process.openFiles],
  [
    'gauge',
    'modhost_process_start_time_seconds',
    'When the host started, seconds since the Unix epoch.',
    ({ process }) => process.startUnixSeconds,
  ],
  [
    'gauge',
    'modhost_eventloop_delay_p50_seconds',
    'Median delay of the event loop since the last scrape.',
    ({ process }) => process.loopDelaySeconds.p50,
  ],
  [
    'gauge',
    'modhost_eventloop_delay_p99_seconds',
    'Delay of the event loop since the last scrape, 99th percentile.',
    ({ process }) => process.loopDelaySeconds.p99,
  ],
  [
    'gauge',
    'modhost_eventloop_delay_max_seconds',
    'Longest delay of the event loop since the last scrape.',
    ({ process }) => process.loopDelaySeconds.max,
  ],
  [
    'counter',
    'modhost_events_published_total',
    'Events that were published, heard or not.',
    ({ source }) => source.eventsPublished(),
  ],
  ['gauge', 'modhost_node_reachable', 'Whether the node answered last.', ({ node }) => Number(node.reachable)],
  ['gauge', 'modhost_node_height', 'Height of the tip.', ({ node }) => node.tipHeight],
  ['gauge', 'modhost_node_header_height', 'Height of the best header.', ({ node }) => node.headerHeight],
  [
    'gauge',
    'modhost_node_initial_block_download',
    'Whether the node is in its initial block download.',
    ({ node }) => Number(node.initialBlockDownload),
  ],
  ['gauge', 'modhost_node_sync_progress_ratio', 'Share of verification done.', ({ node }) => node.syncProgress],
  ['gauge', 'modhost_node_calls_in_flight', 'Calls to the node under way.', ({ node }) => node.callsInFlight],
  ['gauge', 'modhost_node_calls_limit', 'Calls to the node at a time.', ({ node }) => node.maxCallsInFlight],
];

/** Makes the page of one host; several hosts in a process have one each. */
export function createPrometheusPage(source: MetricsSource): PrometheusPage {
  const registry = new Registry();
  const measured = createProcessGauge();
  const make = (kind: 'counter' | 'gauge', name: string, help: string, labelNames: string[] = []) => {
    const options = { name, help, labelNames, registers: [registry] };
    if (kind === 'gauge') {
      const made = new Gauge(options);
      return { reset: () => made.reset(), put: (labels: Labels, value: number) => made.set(labels, value) };
    }
    const made = new Counter(options);
    return { reset: () => made.reset(), put: (labels: Labels, value: number) => made.inc(labels, value) };
  };
  const hostFamilies = HOST_FAMILIES.map(([kind, name, help, read]) => ({ read, ...make(kind, name, help) }));
  const moduleFamilies = MODULE_FAMILIES.map(({ kind, name, help, labels = [], read }) => ({
    read,
    ...make(kind, name, help, ['module', ...labels]),
  }));
  const build = make('gauge', 'modhost_build_info', 'Version of the host.', ['version', 'runtime']);
  const diskFree = make('gauge', 'modhost_disk_free_bytes', 'Free space, by what the disk holds.', ['holds']);
  const diskSize = make('gauge', 'modhost_disk_size_bytes', 'Size of the file system.', ['holds']);

  return {
    async render() {
      const node = await source.node();
      const series = source.series();
      const { text, hidden } = await writeSeries(series);
      // from here on nothing waits until all is set, so that two scrapes do not mix
      const counts = new Map(series.map(({ module, metrics }) => [module, metrics.length]));
      const facts: HostFacts = { process: measured.read(), node, source };
      for (const { read, reset, put } of hostFamilies) {
        reset();
        put({}, Number(read(facts)));
      }
      build.reset();
      build.put({ version: source.version, runtime: process.version }, 1);
      diskFree.reset();
      diskSize.reset();
      for (const { holds, availableBytes, totalBytes } of source.disks()) {
        diskFree.put({ holds }, availableBytes);
        diskSize.put({ holds }, totalBytes);
      }
      for (const { reset } of moduleFamilies) reset();
      for (const { status, invocationsOpen } of source.modules()) {
        const module = status.name;
        const numbers = {
          status,
          invocationsOpen,
          series: counts.get(module) ?? 0,
          seriesHidden: hidden.get(module) ?? 0,
        };
        for (const { read, put } of moduleFamilies) {
          for (const [labels, value] of read(numbers)) put({ module, ...labels }, Number(value));
        }
      }
      return { contentType: registry.contentType, text: (await registry.metrics()) + text };
    },
    close() {
      measured.close();
      registry.clear();
    },
  };
}

type Labels = Readonly<Record<string, string>>;
