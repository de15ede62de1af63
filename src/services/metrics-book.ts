import type { Metric } from '../../gen/ts/modhost/v1/metrics.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Session } from '../session/session.js';
import { assertGoesOn, type CheckedMetric, checkMetric, type MetricValue } from './metrics-check.js';

/** Series of one module; `Limits.max_metric_series`. A label with free values would otherwise fill host and Prometheus. */
export const MAX_METRIC_SERIES = 1_000;
/** Values in one report: each series once, and once more for one who repeats himself. */
const MAX_METRICS_PER_REPORT = 2 * MAX_METRIC_SERIES;
/** Stands between the parts of a series' key; no name, label or value holds it, so the order is by name and labels. */
const SEPARATOR = '\u0000';

/** One series and where it stands in the order. */
export interface Series {
  /** Ascends by name and labels. */
  readonly key: string;
  readonly metric: Metric;
}

/** What one session has reported. */
export interface SessionMetrics {
  /**
   * Takes a batch as a whole or refuses it as a whole.
   *
   * @returns series that the session has now
   * @throws FIELD_REQUIRED, INVALID_REQUEST, OUT_OF_RANGE, QUOTA_EXCEEDED
   */
  report(metrics: readonly Metric[]): number;
}

/** The numbers that modules measure, as long as their sessions last. */
export interface MetricsBook {
  /** A page of nothing yet for the session's module; what its last session reported is gone. */
  open(session: Session): SessionMetrics;
  /** Series of a module by ascending key; empty when it has reported nothing. */
  series(module: string): readonly Series[];
  /** Modules that have reported something, ascending. */
  modules(): string[];
}

interface Kept {
  /** By key; the help of each stands with its name. */
  series: Map<string, Metric>;
  /** Kind and help of each name, from its first value on. */
  names: Map<string, { kind: MetricValue['$case']; help: string }>;
  /** In order, with their help; undefined after a report. */
  sorted: readonly Series[] | undefined;
}

/** Makes an empty book. */
export function createMetricsBook(clock: Clock): MetricsBook {
  const books = new Map<string, Kept>();
  return {
    open(session) {
      const { moduleId } = session.identity;
      const kept: Kept = { series: new Map(), names: new Map(), sorted: undefined };
      session.ended.addEventListener(
        'abort',
        () => {
          if (books.get(moduleId) === kept) books.delete(moduleId);
        },
        { once: true },
      );
      return {
        report(metrics) {
          if (session.ended.aborted) throw new HostError('SESSION_CLOSED', 'the session has ended');
          const count = take(kept, metrics, clock);
          books.set(moduleId, kept);
          return count;
        },
      };
    },
    series: (module) => sortedOf(books.get(module)),
    modules: () => [...books.keys()].sort(),
  };
}

function sortedOf(kept: Kept | undefined): readonly Series[] {
  if (kept === undefined) return [];
  kept.sorted ??= [...kept.series]
    .map(([key, metric]) => ({ key, metric: { ...metric, help: kept.names.get(metric.name)?.help ?? '' } }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return kept.sorted;
}

/** Checks everything before anything is kept. */
function take(kept: Kept, metrics: readonly Metric[], clock: Clock): number {
  if (metrics.length === 0) throw new HostError('FIELD_REQUIRED', 'metrics needs at least one entry');
  if (metrics.length > MAX_METRICS_PER_REPORT) {
    throw new HostError('QUOTA_EXCEEDED', `a report has at most ${MAX_METRICS_PER_REPORT} values`);
  }
  const staged = new Map<string, CheckedMetric>();
  const names: Kept['names'] = new Map();
  let fresh = 0;
  for (const given of metrics) {
    const metric = checkMetric(given);
    const { name, value, help } = metric;
    const key = keyOf(metric);
    const known = kept.names.get(name) ?? names.get(name);
    if (known !== undefined && known.kind !== value.$case) {
      throw new HostError('INVALID_REQUEST', `${name} is a ${known.kind} and stays one for the life of the session`);
    }
    names.set(name, { kind: value.$case, help: known?.help || help });
    const before = staged.get(key)?.value ?? kept.series.get(key)?.value;
    if (before === undefined) fresh += 1;
    else assertGoesOn(name, before, value);
    if (kept.series.size + fresh > MAX_METRIC_SERIES) {
      throw new HostError(
        'QUOTA_EXCEEDED',
        `the module has at most ${MAX_METRIC_SERIES} series; use fewer label values`,
      );
    }
    staged.set(key, metric);
  }
  const now = BigInt(Math.floor(clock.unixMs()));
  for (const [name, facts] of names) kept.names.set(name, facts);
  for (const [key, { name, labels, value, timeUnixMs }] of staged) {
    const measured = timeUnixMs === 0n ? now : timeUnixMs;
    kept.series.set(key, { name, labels: [...labels], value, timeUnixMs: measured, help: '' });
  }
  kept.sorted = undefined;
  return kept.series.size;
}

function keyOf({ name, labels }: CheckedMetric): string {
  return [name, ...labels.flatMap((label) => [label.name, label.value])].join(SEPARATOR);
}
