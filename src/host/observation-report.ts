import type { GetObservationResponse, PermissionUse } from '../../gen/ts/modhost/admin/v1/observation.js';
import type { Limits } from '../../gen/ts/modhost/v1/session.js';
import type { EventCatalogue } from '../contract/event-type.js';
import { type Permission, permissionNumber } from '../contract/permission.js';
import { writeManifest } from '../manifest/write.js';
import { type Observation, type PermissionCount, permissionsOf, type Seen } from './observation.js';
import { type LimitsInForce, observedManifest } from './observed-manifest.js';
import type { HostParts } from './parts.js';
import type { Running, Slot } from './slot.js';

/** What a report is made of. */
export interface ReportParts extends Pick<HostParts, 'observations' | 'kept'> {
  readonly catalogue: EventCatalogue;
}

/** Follows one spawn from its start to its end. */
export function observeSpawn(observation: Observation, running: Running): void {
  const isKept = running.containment.some(({ name, state }) => name === 'network' && state === 'enforced');
  if (running.network === undefined && !isKept) observation.hasUnwatchedNetwork();
  observation.limited(inForce(running.limits));
  const { spawn } = running;
  spawn.ready.then(
    () => void spawn.ended.then(observation.ready()),
    () => {},
  );
}

/** What was seen of a module, in the contract's form. */
export function observationOf(slot: Slot, parts: ReportParts, reset: boolean): GetObservationResponse {
  const observation = parts.observations.of(slot.name);
  observation.stored(parts.kept.status(slot).storageBytes);
  const seen = observation.seen();
  const { manifest } = slot;
  const readyMs = Math.round(observation.readyMs());
  const answer: GetObservationResponse = {
    module: slot.name,
    version: slot.running?.version ?? manifest.version,
    sinceUnixMs: BigInt(seen.sinceUnixMs),
    readyMs: BigInt(readyMs),
    used: usesOf(seen.used),
    unused: permissionsOf(new Map(manifest.capabilities.map((permission) => [permission, NO_USE])))
      .filter((permission) => !seen.used.has(permission))
      .map(permissionNumber)
      .sort((a, b) => a - b),
    refused: usesOf(seen.refused),
    subscribed: ascending(seen.subscribed),
    published: ascending(seen.published),
    topics: [...seen.topics.all].sort(),
    outbound: [...seen.outbound.all].sort(),
    inbound: ascending(seen.inbound),
    udp: seen.udp,
    apiMethods: [...seen.apiMethods.all].sort(),
    rpcOverrides: [...seen.rpcOverrides.all].sort(),
    peak: { ...seen.peak },
    manifestToml: writeManifest(
      observedManifest({
        manifest,
        seen,
        inForce: observation.limits(),
        eventName: (type) => camelCase(parts.catalogue.byType(type)?.name ?? ''),
      }),
      notesOf(slot.name, seen, readyMs),
    ),
  };
  if (reset) observation.reset();
  return answer;
}

const NO_USE: PermissionCount = { count: 0n, methods: new Set() };

function notesOf(name: string, seen: Readonly<Seen>, readyMs: number): string[] {
  const since = new Date(seen.sinceUnixMs).toISOString();
  return [
    `What ${name} really used since ${since}, of which it was ready for ${Math.round(readyMs / 1_000)} s.`,
    'A path that was not taken was not seen: read it before you sign it.',
    ...(seen.unwatchedNetwork ? ['Nothing kept its network to the host, so [network] is as it was.'] : []),
  ];
}

function usesOf(counts: ReadonlyMap<Permission, PermissionCount>): PermissionUse[] {
  return [...counts]
    .map(([permission, { count, methods }]) => ({
      permission: permissionNumber(permission),
      count,
      methods: [...methods].sort(),
    }))
    .sort((a, b) => a.permission - b.permission);
}

function ascending<T extends number>(numbers: Iterable<T>): T[] {
  return [...numbers].sort((a, b) => a - b);
}

function inForce(limits: Limits): LimitsInForce {
  return {
    memory_mb: limits.memoryMb,
    cpu_percent: limits.cpuPercent,
    pids: limits.pids,
    open_files: limits.openFiles,
    data_mb: limits.dataMb,
  };
}

/** `NEW_BLOCK` as manifests have it: `NewBlock`. */
function camelCase(name: string): string {
  return name
    .toLowerCase()
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}
