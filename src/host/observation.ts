import type { PeakUse } from '../../gen/ts/modhost/admin/v1/observation.js';
import type { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { PERMISSIONS, type Permission } from '../contract/permission.js';
import type { Clock } from '../core/clock.js';
import type { GuardDecision } from '../ipc/guard.js';
import type { Parties } from '../network/counters.js';
import type { LiveUsage } from '../process/watch.js';
import type { LimitsInForce } from './observed-manifest.js';

/** Methods that are remembered of each permission. */
const MAX_METHODS = 16;
/** Names of one kind that are remembered: as many as a manifest may list. What is beyond is known to be there, not by name. */
const MAX_NAMES = 256;

/** How often one permission was needed, and by which rpcs. */
export interface PermissionCount {
  count: bigint;
  readonly methods: Set<string>;
}

/** What was seen of one module. */
export interface Seen {
  sinceUnixMs: number;
  /** Milliseconds of Ready in spawns that have ended. */
  readyMs: number;
  readonly used: Map<Permission, PermissionCount>;
  readonly refused: Map<Permission, PermissionCount>;
  readonly subscribed: Set<EventType>;
  readonly published: Set<EventType>;
  readonly topics: Names;
  readonly outbound: Names;
  readonly inbound: Set<number>;
  udp: boolean;
  /** A spawn of it had a network that does not pass through the host. */
  unwatchedNetwork: boolean;
  readonly apiMethods: Names;
  readonly rpcOverrides: Names;
  readonly peak: PeakUse;
  /** True once anything was measured. */
  measured: boolean;
}

/** Names of one kind, at most MAX_NAMES. */
export interface Names {
  readonly all: Set<string>;
  /** There were more. */
  overflowed: boolean;
}

/** What a module is seen to do, over all its spawns. Each call costs a look into a small table. */
export interface Observation {
  /** A permission was asked for, and was there or not. */
  asked(permission: Permission, held: boolean): void;
  /** The guard has decided; tells the rpc that needed the permission. */
  decided(decision: GuardDecision): void;
  subscribed(types: Iterable<EventType>, needed: Iterable<Permission>): void;
  published(type: EventType, topic: string | undefined): void;
  connected(parties: Parties): void;
  registeredApi(methods: Iterable<string>): void;
  overrode(methods: Iterable<string>): void;
  measured(usage: LiveUsage, isReady: boolean): void;
  stored(bytes: bigint): void;
  /** A spawn of it began under these limits. */
  limited(inForce: LimitsInForce): void;
  /** Those of the last spawn; undefined before the first. */
  limits(): LimitsInForce | undefined;
  /** Its network cannot be seen: nothing keeps it to the host. */
  hasUnwatchedNetwork(): void;
  /** A spawn got Ready; the answer is called when it ends. */
  ready(): () => void;
  /** What was seen so far. */
  seen(): Readonly<Seen>;
  readyMs(): number;
  /** Forgets it. */
  reset(): void;
}

/** The observations of a host's modules. */
export interface Observations {
  /** Of one module; begun at the first question. */
  of(name: string): Observation;
}

/** Makes the observations of a host. */
export function createObservations(clock: Clock): Observations {
  const all = new Map<string, Observation>();
  return {
    of(name) {
      const found = all.get(name) ?? createObservation(clock);
      all.set(name, found);
      return found;
    },
  };
}

/** Makes the observation of one module: nothing was seen yet. */
export function createObservation(clock: Clock): Observation {
  let seen = nothingSeen(clock.unixMs());
  let limits: LimitsInForce | undefined;
  /** Since when each spawn is Ready, by the monotonic clock; a handover has two. */
  const readySince = new Set<{ ms: number }>();

  const noteMethod = (counts: Map<Permission, PermissionCount>, permission: Permission, method: string): void => {
    const methods = counts.get(permission)?.methods;
    if (methods !== undefined && methods.size < MAX_METHODS) methods.add(method);
  };
  const peakOf = <K extends keyof PeakUse>(key: K, value: PeakUse[K]): void => {
    if (value > seen.peak[key]) seen.peak[key] = value;
  };

  return {
    asked(permission, held) {
      const counts = held ? seen.used : seen.refused;
      const count = counts.get(permission) ?? { count: 0n, methods: new Set<string>() };
      count.count += 1n;
      counts.set(permission, count);
    },
    decided({ permission, method, allowed, reason }) {
      if (permission === 'NONE') return;
      const isMissing = !allowed && reason === 'MISSING_PERMISSION';
      noteMethod(isMissing ? seen.refused : seen.used, permission, method);
    },
    subscribed(types, needed) {
      for (const type of types) seen.subscribed.add(type);
      for (const permission of needed) noteMethod(seen.used, permission, SUBSCRIBE);
    },
    published(type, topic) {
      seen.published.add(type);
      if (topic !== undefined) note(seen.topics, topic);
    },
    connected({ transport, direction, target }) {
      if (transport === 'udp') seen.udp = true;
      if (direction === 'out') note(seen.outbound, target);
      else {
        const port = Number(/[0-9]+$/.exec(target)?.[0]);
        if (port > 0) seen.inbound.add(port);
      }
    },
    registeredApi(methods) {
      for (const method of methods) note(seen.apiMethods, method);
    },
    overrode(methods) {
      for (const method of methods) note(seen.rpcOverrides, method);
    },
    measured(usage, isReady) {
      seen.measured = true;
      peakOf('memoryBytes', BigInt(Math.round(usage.memoryBytes)));
      // its share of the processor does not hold before Ready
      if (isReady) peakOf('cpuPercent', usage.cpuPercent);
      peakOf('pids', usage.pids);
      peakOf('openFiles', usage.openFiles);
      peakOf('dataBytes', BigInt(Math.round(usage.dataBytes)));
    },
    stored: (bytes) => peakOf('storageBytes', bytes),
    limited(inForce) {
      limits = inForce;
    },
    limits: () => limits,
    hasUnwatchedNetwork() {
      seen.unwatchedNetwork = true;
    },
    ready() {
      const spawn = { ms: clock.monotonicMs() };
      readySince.add(spawn);
      return () => {
        if (readySince.delete(spawn)) seen.readyMs += clock.monotonicMs() - spawn.ms;
      };
    },
    seen: () => seen,
    readyMs: () => [...readySince].reduce((sum, { ms }) => sum + clock.monotonicMs() - ms, seen.readyMs),
    reset() {
      const { unwatchedNetwork, rpcOverrides, apiMethods, subscribed, used } = seen;
      seen = nothingSeen(clock.unixMs());
      for (const spawn of readySince) spawn.ms = clock.monotonicMs();
      if (readySince.size === 0) return;
      // what a running module holds it goes on using
      Object.assign(seen, { unwatchedNetwork, rpcOverrides, apiMethods, subscribed });
      for (const [permission, { methods }] of used) {
        const standing = [...methods].filter((method) => STANDING.test(method));
        if (standing.length > 0) seen.used.set(permission, { count: 1n, methods: new Set(standing) });
      }
    },
  };
}

/** Rpcs after which something stands at the host for as long as the session does. */
const STANDING = /\/(?:Subscribe|Register\w+|Schedule\w+|Watch\w+)$/;
/** Path of the rpc whose filters need permissions of their own. */
const SUBSCRIBE = '/modhost.event.v1.EventService/Subscribe';

function note(names: Names, name: string): void {
  if (names.all.size < MAX_NAMES) names.all.add(name);
  else if (!names.all.has(name)) names.overflowed = true;
}

function nothingSeen(sinceUnixMs: number): Seen {
  const names = (): Names => ({ all: new Set(), overflowed: false });
  return {
    sinceUnixMs,
    readyMs: 0,
    used: new Map(),
    refused: new Map(),
    subscribed: new Set(),
    published: new Set(),
    topics: names(),
    outbound: names(),
    inbound: new Set(),
    udp: false,
    unwatchedNetwork: false,
    apiMethods: names(),
    rpcOverrides: names(),
    peak: { memoryBytes: 0n, cpuPercent: 0, pids: 0, openFiles: 0, dataBytes: 0n, storageBytes: 0n },
    measured: false,
  };
}

/** Permissions of a table of counts, in the order of the contract. */
export function permissionsOf(counts: ReadonlyMap<Permission, PermissionCount>): Permission[] {
  return PERMISSIONS.filter((permission) => counts.has(permission));
}
