import { createHash } from 'node:crypto';
import { type Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { SubscribeResponse } from '../../gen/ts/modhost/event/v1/event_service.js';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { HostError } from '../../src/contract/error.js';
import { type EventPayload, readEventTypes } from '../../src/contract/event-type.js';
import type { Clock } from '../../src/core/clock.js';
import type { LogFields, Logger } from '../../src/core/logger.js';
import { createEventHub } from '../../src/events/hub.js';
import {
  type EventFilter,
  MAX_QUEUE_BYTES,
  MAX_QUEUED_EVENTS,
  type Subscription,
} from '../../src/events/subscription.js';

export const catalogue = readEventTypes(createContractRegistry());
export const BOUNDS = { maxItems: MAX_QUEUED_EVENTS, maxBytes: MAX_QUEUE_BYTES };

/** A clock that moves by hand. */
export function createHandClock(): Clock & { advance(ms: number): void } {
  let now = 0;
  return {
    monotonicMs: () => now,
    unixMs: () => 1_700_000_000_000 + now,
    advance(ms) {
      now += ms;
    },
  };
}

export interface LogLine {
  level: string;
  fields: LogFields;
  message: string;
}

/** A logger that remembers. */
export function createMemoryLogger(): Logger & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: string) =>
    (fields: LogFields, message: string): void =>
      void lines.push({ level, fields, message });
  const logger = {
    lines,
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return logger;
}

/** A hub with hand-held clock and memory of its log. */
export function createTestHub() {
  const clock = createHandClock();
  const log = createMemoryLogger();
  return { clock, log, hub: createEventHub({ clock, log, catalogue }) };
}

export function filterOf(types: readonly EventType[], topics: readonly string[] = []): EventFilter {
  return { types: new Set(types), topics: new Set(topics) };
}

/** 32 bytes that differ for each text. */
export function hashOf(text: string | number): Uint8Array {
  return new Uint8Array(createHash('sha256').update(String(text)).digest());
}

export const newBlock = (height: number): EventPayload => ({
  $case: 'newBlock',
  value: {
    blockHash: hashOf(height),
    height,
    header: new Uint8Array(80),
    txCount: 1,
    size: 300,
    weight: 1_200,
    headersOnly: false,
  },
});
export const blockDisconnected = (height: number): EventPayload => ({
  $case: 'blockDisconnected',
  value: { blockHash: hashOf(height), height, header: new Uint8Array(80) },
});
export const removal = (n: number): EventPayload => ({
  $case: 'mempoolTransactionRemoved',
  value: { txid: hashOf(n), reason: 2, mempoolTxCount: undefined },
});
export const topic = (name: string, body: Uint8Array | string = ''): EventPayload => ({
  $case: 'topic',
  value: { topic: name, body: typeof body === 'string' ? new Uint8Array(Buffer.from(body)) : body },
});
export const moduleLoaded = (moduleName: string, instanceId = `${moduleName}-1`): EventPayload => ({
  $case: 'moduleLoaded',
  value: { moduleName, version: '1.0.0', instanceId },
});
export const moduleUnloaded = (moduleName: string, instanceId = `${moduleName}-1`): EventPayload => ({
  $case: 'moduleUnloaded',
  value: { moduleName, version: '1.0.0', instanceId },
});

/** The next response, decoded as any stub would. */
export async function pull(subscription: Subscription): Promise<SubscribeResponse> {
  const bytes = await subscription.next();
  if (bytes === undefined) throw new Error('the subscription has ended');
  return SubscribeResponse.decode(bytes);
}

/** The next response, or undefined when there is nothing to tell for some turns. */
export async function pullNow<T>(pending: Promise<T>, turns = 4): Promise<T | undefined> {
  let settled: { value: T } | undefined;
  let failed: { error: unknown } | undefined;
  pending.then(
    (value) => {
      settled = { value };
    },
    (error: unknown) => {
      failed = { error };
    },
  );
  for (let turn = 0; turn < turns && settled === undefined && failed === undefined; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (failed !== undefined) throw failed.error;
  return settled?.value;
}

/** Name of an event's type. */
export function typeName(event: Event): string {
  return event.payload === undefined ? 'none' : catalogue.byCase(event.payload.$case).name;
}

export const CLOSED = new HostError('SESSION_CLOSED', 'the session has ended');
export { EventType };
