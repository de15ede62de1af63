import type { Usage } from '../../gen/ts/modhost/admin/v1/status.js';
import { type ResourceLimitWarning, ResourceType } from '../../gen/ts/modhost/event/v1/resource.js';
import type { LimitWarning, LiveUsage, SpawnWatch, Watch, WatchedResource } from '../process/watch.js';
import type { ResourceGroup } from '../sandbox/group.js';
import type { ResourceLimits } from '../sandbox/limits.js';
import type { HostParts } from './parts.js';
import type { Spawn } from './spawn.js';

/** What the watch over one spawn of a host needs. */
export interface ModuleWatchParts extends Pick<HostParts, 'log' | 'lifecycleEvents'> {
  watch: Watch;
  spawn: Spawn;
  group: ResourceGroup | undefined;
  dataDir: string;
  limits: ResourceLimits;
  onSample(usage: LiveUsage): void;
}

const TYPES: Readonly<Record<WatchedResource, ResourceType>> = {
  memory: ResourceType.MEMORY,
  cpu: ResourceType.CPU,
  pids: ResourceType.PIDS,
  disk: ResourceType.DISK,
  openFiles: ResourceType.OPEN_FILES,
};

/** The contract counts processor time in thousandths of a core, manifests in percent. */
const THOUSANDTHS_PER_PERCENT = 10;

/**
 * Watches a spawn from its start to its end: warnings become events, and what is over a limit that nobody else holds is
 * ended. Undefined for a spawn whose process somebody else has started.
 */
export function watchSpawn(parts: ModuleWatchParts): SpawnWatch | undefined {
  const { spawn, watch, group, dataDir, limits, lifecycleEvents } = parts;
  const { process } = spawn;
  if (process === undefined) return undefined;
  const name = spawn.session.identity.moduleId;
  const watched = watch.add({
    name,
    pid: process.pid,
    group,
    dataDir,
    limits,
    onSample: parts.onSample,
    onWarning(warning) {
      const { resource, usage, limit } = warning;
      parts.log.warn({ module: name, resource, usage, limit }, `${name} uses most of what it may have of ${resource}`);
      lifecycleEvents.resourceLimitWarning(warningOf(name, warning));
    },
    onBreach: (error) => spawn.fail(error),
  });
  void process.exited.then(() => watched.close());
  spawn.ready.then(
    () => watched.ready(),
    () => watched.close(),
  );
  return watched;
}

function warningOf(
  moduleName: string,
  { resource, usage, limit, thresholdPercent }: LimitWarning,
): ResourceLimitWarning {
  const unit = resource === 'cpu' ? THOUSANDTHS_PER_PERCENT : 1;
  return {
    resourceType: TYPES[resource],
    usagePercent: (usage * 100) / limit,
    currentUsage: BigInt(Math.round(usage * unit)),
    limit: BigInt(Math.round(limit * unit)),
    thresholdPercent,
    moduleName,
  };
}

/** What a module uses, in the contract's form. */
export function wireUsage(usage: LiveUsage | undefined): Usage | undefined {
  if (usage === undefined) return undefined;
  const whole = (number: number): bigint => BigInt(Math.max(0, Math.round(number)));
  return {
    memoryBytes: whole(usage.memoryBytes),
    chargedBytes: whole(usage.chargedBytes ?? 0),
    cpuMs: whole(usage.cpuMs),
    cpuPercent: usage.cpuPercent,
    pids: usage.pids,
    openFiles: usage.openFiles,
    dataBytes: whole(usage.dataBytes),
    measuredUnixMs: whole(usage.measuredUnixMs),
  };
}
