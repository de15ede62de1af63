import {
  type DescEnumValue,
  type DescExtension,
  type DescField,
  type FileRegistry,
  getOption,
} from '@bufbuild/protobuf';
import type { Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { type EventCategory, EventPublisher, EventQueue, Stability } from '../../gen/ts/modhost/v1/options.js';
import type { Permission } from './permission.js';
import { permissionFromNumber } from './permission.js';

/** What an event tells, as the generated code has it: the name of the field and its message. */
export type EventPayload = NonNullable<Event['payload']>;
/** Name of a payload field in generated code, for example `newBlock`. */
export type EventCase = EventPayload['$case'];
/** The two bounded queues of a subscription. */
export type QueueName = 'CHAIN' | 'GENERAL';

/** A field of a payload, as far as its values can be checked by rule. */
export interface PayloadField {
  /** Name in the contract, for example `block_hash`. */
  readonly name: string;
  /** Name in generated code, for example `blockHash`. */
  readonly property: string;
  readonly kind: 'bytes' | 'string' | 'number' | 'other';
  readonly repeated: boolean;
  /** True where presence is tracked, so that absent and 0 differ. */
  readonly optional: boolean;
  /** Numbers of the enum, 0 left out, when the field is one. */
  readonly enumValues: ReadonlySet<number> | undefined;
}

/** What the contract declares of one event type. */
export interface EventFacts {
  readonly type: EventType;
  /** Name without prefix, for example `NEW_BLOCK`. */
  readonly name: string;
  readonly payloadCase: EventCase;
  readonly category: EventCategory;
  /** Needed besides subscribe_events; `NONE` when nothing is. */
  readonly permission: Permission | 'NONE';
  readonly stability: 'STABLE' | 'ALPHA';
  readonly publisher: 'HOST' | 'MODULE';
  readonly queue: QueueName;
  readonly fields: readonly PayloadField[];
}

/** Every event type of the contract; made once, shared by all. */
export interface EventCatalogue {
  /** All types, in the order of the contract. */
  readonly all: readonly EventFacts[];
  /** Facts of a type, or undefined for UNSPECIFIED and numbers that this host does not know. */
  byType(type: number): EventFacts | undefined;
  /** Facts of a payload. */
  byCase(payloadCase: EventCase): EventFacts;
}

interface Options {
  category: EventCategory;
  permission: number;
  stability: number;
  publisher: number;
  queue: number;
}

/**
 * Reads the catalogue from the options in the descriptor set.
 *
 * @throws Error when a type lacks its facts or its payload: the host does not start on a contract with a hole
 */
export function readEventTypes(registry: FileRegistry): EventCatalogue {
  const types = registry.getEnum('modhost.event.v1.EventType');
  const event = registry.getMessage('modhost.event.v1.Event');
  const option = registry.getExtension('modhost.v1.event');
  if (types === undefined || event === undefined || option === undefined) {
    throw new Error('the contract lacks the catalogue of events');
  }
  const all = types.values
    .filter((value) => value.number !== 0)
    .map((value) =>
      readFacts(
        value,
        option,
        event.fields.find((field) => field.number === value.number),
      ),
    );
  const byType = new Map<number, EventFacts>(all.map((facts) => [facts.type, facts]));
  const byCase = new Map<EventCase, EventFacts>(all.map((facts) => [facts.payloadCase, facts]));
  return {
    all,
    byType: (type) => byType.get(type),
    byCase(payloadCase) {
      const facts = byCase.get(payloadCase);
      if (facts === undefined) throw new Error(`no event type has the payload ${payloadCase}`);
      return facts;
    },
  };
}

function readFacts(value: DescEnumValue, option: DescExtension, payload: DescField | undefined): EventFacts {
  const options = getOption(value, option) as unknown as Options;
  const permission = permissionFromNumber(options.permission);
  const queue = QUEUES.get(options.queue);
  if (permission === undefined || queue === undefined || payload?.message === undefined || options.publisher === 0) {
    throw new Error(`${value.name} declares no permission, queue, publisher or payload`);
  }
  return {
    type: value.number as EventType,
    name: value.name.replace('EVENT_TYPE_', ''),
    payloadCase: payload.localName as EventCase,
    category: options.category,
    permission,
    stability: options.stability === Stability.STABLE ? 'STABLE' : 'ALPHA',
    publisher: options.publisher === EventPublisher.MODULE ? 'MODULE' : 'HOST',
    queue,
    fields: payload.message.fields.map(readField),
  };
}

const QUEUES: ReadonlyMap<number, QueueName> = new Map([
  [EventQueue.CHAIN, 'CHAIN'],
  [EventQueue.GENERAL, 'GENERAL'],
]);

/** Scalar types of descriptor.proto that the checks tell apart. */
const SCALAR_STRING = 9;
const SCALAR_BYTES = 12;
const SCALAR_NUMBERS: ReadonlySet<number> = new Set([1, 2, 5, 13, 15, 17]);

function readField(field: DescField): PayloadField {
  const scalar = field.scalar ?? 0;
  const kind =
    scalar === SCALAR_BYTES
      ? 'bytes'
      : scalar === SCALAR_STRING
        ? 'string'
        : SCALAR_NUMBERS.has(scalar)
          ? 'number'
          : 'other';
  const numbers = field.enum?.values.map((value) => value.number).filter((number) => number !== 0);
  return {
    name: field.name,
    property: field.localName,
    kind,
    repeated: field.fieldKind === 'list',
    optional: field.proto.proto3Optional,
    enumValues: numbers === undefined ? undefined : new Set(numbers),
  };
}
