import type { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { capabilityName } from '../contract/permission.js';
import type { Manifest } from '../manifest/manifest.js';
import { permissionsOf, type Seen } from './observation.js';

/** How a limit follows from the most that was used of it: so many times as much, rounded up to steps, at least the least. */
export interface LimitRule {
  readonly times: number;
  readonly step: number;
  readonly least: number;
}

const MIB = 1024 * 1024;

/**
 * Room above what was seen. Memory and processor get half as much again: their peaks fall between two looks. Processes, open
 * files and data get twice as much: they are cheap to grant, and grow with what the module has to do. The least is what a
 * small program in any language needs to start.
 */
export const LIMIT_RULES = {
  memory_mb: { times: 1.5, step: 16, least: 64 },
  cpu_percent: { times: 1.5, step: 5, least: 10 },
  pids: { times: 2, step: 8, least: 32 },
  open_files: { times: 2, step: 16, least: 64 },
  data_mb: { times: 2, step: 8, least: 16 },
} as const satisfies Readonly<Record<string, LimitRule>>;

/** What a limit was while the module was watched, in the manifest's units. */
export type LimitsInForce = Readonly<Record<keyof typeof LIMIT_RULES, number>>;

/** What beside the observation decides a manifest. */
export interface ObservedManifestParts {
  readonly manifest: Manifest;
  readonly seen: Readonly<Seen>;
  /** Undefined when the module has not run: then nothing is known of its limits. */
  readonly inForce: LimitsInForce | undefined;
  /** Name of an event type as manifests write it. */
  eventName(type: EventType): string;
}

/**
 * The smallest manifest that would have sufficed, as a document: all that the present one says of identity and start, and of
 * wishes those that were used. It asks for no more than held while the module was watched. Signatures and hashes are left
 * out, as a changed manifest needs new ones.
 */
export function observedManifest(parts: ObservedManifestParts): Record<string, unknown> {
  const { manifest, seen } = parts;
  const {
    signatures: _signatures,
    binary: _binary,
    capabilities: _capabilities,
    rpc_overrides: _overrides,
    compatibility,
    limits,
    network,
    events: _events,
    api,
    ...kept
  } = manifest.document;
  const { capabilities: _nested, ...compatible } = (compatibility ?? {}) as Record<string, unknown>;
  const overrides = [...seen.rpcOverrides.all].sort();
  return withoutEmpty({
    ...kept,
    capabilities: permissionsOf(seen.used).map(capabilityName),
    rpc_overrides: overrides,
    compatibility: compatible,
    limits: limitsTable(parts, (limits ?? {}) as Record<string, unknown>),
    network: seen.unwatchedNetwork ? network : networkTable(manifest, seen),
    events: withoutEmpty({
      subscribe: namesOf(parts, seen.subscribed),
      publish: namesOf(parts, seen.published),
      topics: [...seen.topics.all].sort(),
    }),
    api: seen.apiMethods.all.size === 0 ? {} : { ...(api as object), methods: [...seen.apiMethods.all].sort() },
  });
}

function namesOf({ eventName }: ObservedManifestParts, types: ReadonlySet<EventType>): string[] {
  return [...types].sort((a, b) => a - b).map(eventName);
}

function limitsTable(
  { seen, inForce }: ObservedManifestParts,
  asked: Record<string, unknown>,
): Record<string, unknown> {
  if (!seen.measured || inForce === undefined) return asked;
  const { memoryBytes, cpuPercent, pids, openFiles, dataBytes } = seen.peak;
  const used = {
    memory_mb: Number(memoryBytes) / MIB,
    cpu_percent: cpuPercent,
    pids,
    open_files: openFiles,
    data_mb: Number(dataBytes) / MIB,
  };
  const needed = Object.entries(LIMIT_RULES).map(([key, rule]) => {
    const name = key as keyof typeof LIMIT_RULES;
    return [key, BigInt(Math.min(roomFor(used[name], rule), inForce[name]))];
  });
  return { ...asked, ...Object.fromEntries(needed) };
}

/** A limit that leaves room above what was used. */
export function roomFor(used: number, { times, step, least }: LimitRule): number {
  return Math.max(least, Math.ceil((used * times) / step) * step);
}

function networkTable({ network }: Manifest, seen: Readonly<Seen>): Record<string, unknown> {
  const isAny = seen.outbound.overflowed && network.outboundAny;
  return withoutEmpty({
    ...(isAny ? { outbound_any: true } : { outbound: [...seen.outbound.all].sort() }),
    inbound: [...seen.inbound].sort((a, b) => a - b).map(BigInt),
    ...(seen.udp ? { udp: true } : {}),
  });
}

function withoutEmpty(table: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => !isEmpty(value)));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined) return true;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
