import type { Metric, MetricsServiceService } from '../../gen/ts/modhost/v1/metrics.js';
import { HostError } from '../contract/error.js';
import { moduleNotFound } from '../contract/module-not-found.js';
import type { ServiceImpl } from '../contract/service.js';
import type { Session } from '../session/session.js';
import type { MetricsBook } from './metrics-book.js';
import { seriesPage } from './metrics-page.js';

/** Values, labels and buckets that one more unit of a call's weight pays for: a report may have thousands. */
const PARTS_PER_WEIGHT = 100;

/** What the service must know of the host. */
export interface MetricsServiceParts {
  readonly book: MetricsBook;
  /** Every module that the host knows, in any order. */
  modules(): Iterable<string>;
}

/** Answers MetricsService for one spawn. */
export function createMetricsService(
  session: Session,
  { book, modules }: MetricsServiceParts,
): ServiceImpl<typeof MetricsServiceService> {
  const own = book.open(session);
  return {
    async report({ metrics }) {
      const weight = Math.floor(partsOf(metrics) / PARTS_PER_WEIGHT);
      if (weight > 0) session.quota.enter(weight)();
      return { series: own.report(metrics) };
    },
    async getModuleMetrics({ module, pageSize, pageToken }) {
      if (module === '') throw new HostError('FIELD_REQUIRED', 'module is required: a name');
      assertKnown(module, modules());
      const { parts, nextPageToken } = seriesPage([''], () => book.series(module), pageSize, pageToken);
      return { metrics: parts.flatMap(({ metrics }) => metrics), nextPageToken };
    },
    async getAllMetrics({ pageSize, pageToken }) {
      const { parts, nextPageToken } = seriesPage(book.modules(), book.series, pageSize, pageToken);
      return { modules: parts, nextPageToken };
    },
  };
}

function partsOf(metrics: readonly Metric[]): number {
  let parts = 0;
  for (const { labels, value } of metrics) {
    parts += 1 + labels.length + (value?.$case === 'histogram' ? value.value.buckets.length : 0);
  }
  return parts;
}

function assertKnown(module: string, modules: Iterable<string>): void {
  const known = [...modules];
  if (known.includes(module)) return;
  throw moduleNotFound(module, known);
}
