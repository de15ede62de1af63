import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { EventQueue } from '../../gen/ts/modhost/v1/options.js';
import { enumName } from '../contract/enum-name.js';

/** One module as its numbers are read. */
export interface ModuleNumbers {
  readonly status: ModuleStatus;
  /** Invocations that wait for its answer. */
  readonly invocationsOpen: number;
  /** Series that it has reported. */
  readonly series: number;
  /** Of these, series that `/metrics` leaves out. */
  readonly seriesHidden: number;
}

/** Labels beside `module`, and the value. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | bigint];

/** One of the host's numbers per module. */
export interface ModuleFamily {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  /** Labels beside `module`. */
  readonly labels?: readonly string[];
  /** Nothing for a module that does not have it at present. */
  read(module: ModuleNumbers): readonly Sample[];
}

const plain = (value: number | bigint | boolean | undefined): readonly Sample[] =>
  value === undefined ? [] : [[{}, typeof value === 'boolean' ? Number(value) : value]];

const gauge = (
  name: string,
  help: string,
  value: (module: ModuleNumbers) => number | bigint | boolean | undefined,
): ModuleFamily => ({ name, kind: 'gauge', help, read: (module) => plain(value(module)) });

const counter = (
  name: string,
  help: string,
  value: (module: ModuleNumbers) => number | bigint | undefined,
): ModuleFamily => ({ name, kind: 'counter', help, read: (module) => plain(value(module)) });

const UP: ReadonlySet<ModuleState> = new Set([ModuleState.RUNNING, ModuleState.DEGRADED]);
const MEBIBYTE = 1_048_576;

const perQueue = (
  { queues }: ModuleStatus,
  values: (queue: ModuleStatus['queues'][number]) => readonly Sample[],
): readonly Sample[] =>
  queues.flatMap((queue) =>
    values(queue).map(
      ([labels, value]): Sample => [{ queue: word(enumName(EventQueue, queue.queue)), ...labels }, value],
    ),
  );

/** What the host tells Prometheus of each module, beside what the module measures itself. */
export const MODULE_FAMILIES: readonly ModuleFamily[] = [
  gauge('modhost_up', 'Whether the module is Ready: it runs and can be called.', ({ status }) => UP.has(status.state)),
  {
    name: 'modhost_state',
    kind: 'gauge',
    help: 'The state of the module, by its word; 1 for the state that it is in.',
    labels: ['state'],
    read: ({ status }) => [[{ state: word(enumName(ModuleState, status.state)) }, 1]],
  },
  gauge('modhost_responsive', 'Whether it answered its last health check.', ({ status }) => status.responsive),
  gauge('modhost_unsigned', 'Whether it runs, or would run, without signatures.', ({ status }) => status.unsigned),
  counter('modhost_restarts_total', 'Starts after the first since the host started.', ({ status }) => status.restarts),
  gauge('modhost_crashes', 'Crashes within the window that its restart policy counts.', (m) => m.status.recentCrashes),
  gauge('modhost_start_time_seconds', 'When its process started, seconds since the Unix epoch.', ({ status }) =>
    status.startedUnixMs === 0n ? undefined : Number(status.startedUnixMs) / 1_000,
  ),
  gauge('modhost_memory_bytes', 'Memory of its processes (PSS).', ({ status }) => status.usage?.memoryBytes),
  gauge('modhost_memory_limit_bytes', 'Memory that it may have.', ({ status }) =>
    status.limits === undefined ? undefined : status.limits.memoryMb * MEBIBYTE,
  ),
  counter('modhost_cpu_seconds_total', 'Processor time of its processes.', ({ status }) =>
    status.usage === undefined ? undefined : Number(status.usage.cpuMs) / 1_000,
  ),
  gauge('modhost_cpu_limit_cores', 'Processor time per second that it may have.', ({ status }) =>
    status.limits === undefined ? undefined : status.limits.cpuPercent / 100,
  ),
  gauge('modhost_processes', 'Processes and threads that it has.', ({ status }) => status.usage?.pids),
  gauge('modhost_open_files', 'Open files of its process that has the most.', ({ status }) => status.usage?.openFiles),
  gauge('modhost_data_bytes', 'Size of its data directory on disk.', ({ status }) => status.usage?.dataBytes),
  {
    name: 'modhost_calls_total',
    kind: 'counter',
    help: 'Calls of its session: allowed, denied for a missing permission, limited by a budget.',
    labels: ['outcome'],
    read: ({ status: { counters } }) =>
      counters === undefined
        ? []
        : [
            [{ outcome: 'allowed' }, counters.calls],
            [{ outcome: 'denied' }, counters.denied],
            [{ outcome: 'limited' }, counters.limited],
          ],
  },
  counter(
    'modhost_violations_total',
    "Breaches of a stream's rules and wrong tokens.",
    (m) => m.status.counters?.violations,
  ),
  counter(
    'modhost_log_lines_dropped_total',
    'Log lines dropped because there were too many.',
    (m) => m.status.counters?.logDropped,
  ),
  gauge('modhost_connections', 'Open connections of its session.', ({ status }) => status.counters?.connections),
  gauge('modhost_invocations_open', 'Work handed to it that waits for its answer.', (m) => m.invocationsOpen),
  {
    name: 'modhost_events_total',
    kind: 'counter',
    help: 'Events that matched its subscription and left the queue: delivered, dropped, or failed with the stream.',
    labels: ['queue', 'outcome'],
    read: ({ status }) =>
      perQueue(status, ({ delivered, dropped, failed }) => [
        [{ outcome: 'delivered' }, delivered],
        [{ outcome: 'dropped' }, dropped],
        [{ outcome: 'failed' }, failed],
      ]),
  },
  {
    name: 'modhost_events_queued',
    kind: 'gauge',
    help: 'Events that wait in the queue.',
    labels: ['queue'],
    read: ({ status }) => perQueue(status, ({ queued }) => [[{}, queued]]),
  },
  gauge('modhost_storage_bytes', 'Keys and values in its storage.', ({ status }) => status.storageBytes),
  gauge('modhost_storage_keys', 'Keys in its storage.', ({ status }) => status.storageKeys),
  gauge('modhost_timers', 'Timers and waiting tasks that it has.', ({ status }) => status.timers),
  gauge('modhost_series', 'Series that it has reported.', ({ series }) => series),
  gauge('modhost_series_hidden', 'Reported series that this page leaves out.', ({ seriesHidden }) => seriesHidden),
  counter(
    'modhost_network_sent_bytes_total',
    'Bytes that it sent over granted network connections.',
    ({ status }) => status.network?.sentBytes,
  ),
  counter(
    'modhost_network_received_bytes_total',
    'Bytes that it received over granted network connections.',
    (m) => m.status.network?.receivedBytes,
  ),
  counter(
    'modhost_network_refused_total',
    'Connections that its network grants refused.',
    ({ status }) => status.network?.refused,
  ),
  gauge('modhost_network_connections', 'Open network connections.', ({ status }) => status.network?.open),
];

function word(name: string | undefined): string {
  return (name ?? 'unknown').toLowerCase();
}
