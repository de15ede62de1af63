import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { createPrometheusPage, type MetricsPage } from '../admin/prometheus.js';
import type { EventHub } from '../events/hub.js';
import type { Kept } from './kept.js';
import type { Lifecycle } from './lifecycle.js';
import type { NodeWatch } from './node-status.js';
import type { Upkeep } from './upkeep.js';

/** What the numbers of a host are read from. */
export interface HostMetricsParts {
  readonly version: string;
  readonly hub: EventHub;
  readonly kept: Kept;
  readonly lifecycle: Lifecycle;
  readonly nodeWatch: NodeWatch;
  readonly upkeep: Upkeep;
  /** Aborted when the host ends. */
  readonly ended: AbortSignal;
}

/** Makes the page of the host's numbers, as Prometheus reads it. */
export function createHostMetrics(parts: HostMetricsParts, list: () => ModuleStatus[]): () => Promise<MetricsPage> {
  const { kept, lifecycle, hub, nodeWatch, upkeep, ended } = parts;
  const page = createPrometheusPage({
    version: parts.version,
    node: () => nodeWatch.status(ended),
    modules: () =>
      list().map((status) => ({
        status,
        invocationsOpen: lifecycle.slot(status.name)?.running?.spawn.session.invocations.open() ?? 0,
      })),
    series: () =>
      kept.metrics.modules().map((module) => ({
        module,
        metrics: kept.metrics.series(module).map(({ metric }) => metric),
      })),
    eventsPublished: () => hub.publishedTotal(),
    disks: () => upkeep.disks(),
  });
  ended.addEventListener('abort', () => page.close(), { once: true });
  return () => page.render();
}
