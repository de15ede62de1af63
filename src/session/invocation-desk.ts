import type { Invocation, InvocationResult } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import { createPatientTimer, type PatientTimer } from '../core/patient-timer.js';
import { cutBytes } from '../core/printable.js';
import { callerOf, createCallerTurns, HOST_ITSELF, placesAtWork, shareOf } from './caller-turns.js';
import type {
  AskOptions,
  CallLineage,
  InvocationBatch,
  InvocationDesk,
  InvocationOutcome,
  InvocationStream,
  InvocationWork,
  OpenInvocation,
} from './invocations.js';
import { flawOf, sizeOf } from './outcome.js';

/** Most invocations of one module that wait for an answer at a time, urgent ones aside; `Limits.max_pending_invocations`. */
export const MAX_PENDING_INVOCATIONS = 64;
/** Urgent ones: a health check and the wish to stop, with room for one that is being given up. */
const MAX_PENDING_URGENT = 8;
/** Largest content of one invocation, bytes: stock clients take messages of 4 MiB, and the rest of the message is small. */
export const MAX_WORK_BYTES = 4 * 1024 * 1024 - 64 * 1024;
/** Content of all open invocations together, bytes: what callers may make the host keep for a module that does not read. */
const MAX_OPEN_BYTES = 4 * MAX_WORK_BYTES;
/** Content from which a batch takes no more, bytes: several small invocations share a message, large ones do not. */
const BATCH_BYTES = 256 * 1024;
/** How long after its deadline an answer to work that was given up is nobody's fault, milliseconds: it was on its way. */
const CROSSING_MS = 1_000;
/** Ids given up that are remembered; a module that lets more than these pile up has its answers counted. */
const MAX_REMEMBERED = 1_024;
/** Longest message of a failure, bytes; what is beyond is cut. */
const MAX_FAILURE_BYTES = 4_096;
/** A caller that found the module's places taken may try again after this time, milliseconds. */
const RETRY_AFTER_MS = 100;
/** Work that no module's call has caused. */
const NO_LINEAGE: CallLineage = { depth: 0, steps: [] };

/** What the invocations of one session are made of. */
export interface InvocationDeskOptions {
  readonly moduleId: string;
  readonly clock: Clock;
  /** Hears of each breach of the stream's rules, in words for the log. */
  onViolation(what: string): void;
}

/** One invocation that waits for its answer. */
interface Item {
  readonly work: InvocationWork;
  /** As `callerOf` names it. */
  readonly caller: string;
  readonly urgent: boolean;
  readonly traceParent: string;
  readonly lineage: CallLineage;
  readonly bytes: number;
  /** Monotonic time of its deadline. */
  readonly untilMs: number;
  /** Id on the stream; undefined until it is handed over. */
  id: bigint | undefined;
  readonly onSent: (() => void) | undefined;
  /** Fires when it is over; made for the first who wants to know. */
  over: AbortController | undefined;
  settle(result: InvocationOutcome | HostError): void;
}

/** Makes the invocations of one session; nobody serves them yet. */
export function createInvocationDesk(options: InvocationDeskOptions): InvocationDesk {
  const { moduleId, clock } = options;
  const items = new Set<Item>();
  const servingListeners = new Set<() => void>();
  let served: OpenStream | undefined;
  let retired = false;
  let closed: HostError | undefined;

  const admit = (work: InvocationWork, urgent: boolean): { stream: OpenStream; caller: string; bytes: number } => {
    if (closed !== undefined || served === undefined) {
      throw unavailable(`${moduleId} ${closed === undefined ? 'takes no work: it has no Serve stream' : 'has ended'}`);
    }
    if (retired && !urgent) throw unavailable(`${moduleId} is stopping`);
    const bytes = sizeOf(work);
    if (bytes > MAX_WORK_BYTES) {
      throw new HostError('MESSAGE_TOO_LARGE', `the invocation has ${bytes} bytes, the limit is ${MAX_WORK_BYTES}`);
    }
    const caller = callerOf(work);
    const own = { count: 1, bytes };
    const others = { count: 0, bytes: 0 };
    for (const item of items) {
      // urgent work has places of its own; what it makes the host keep is counted with the rest
      const has = item.caller === caller && item.urgent === urgent ? own : others;
      if (item.urgent === urgent) has.count += 1;
      has.bytes += item.bytes;
    }
    const most = urgent ? MAX_PENDING_URGENT : MAX_PENDING_INVOCATIONS;
    const isShared = caller !== HOST_ITSELF;
    assertRoom(own.count, others.count, most, isShared, 'invocations');
    assertRoom(own.bytes, others.bytes, MAX_OPEN_BYTES, isShared, 'bytes of invocations');
    return { stream: served, caller, bytes };
  };
  const assertRoom = (own: number, others: number, most: number, isShared: boolean, what: string): void => {
    const isFull = own + others > most;
    if (!isFull && !(isShared && own > shareOf(most, others))) return;
    const words = isFull
      ? `${moduleId} has ${most} ${what} open already`
      : `this caller has its share of the ${most} ${what} that ${moduleId} may have open`;
    throw new HostError('TOO_MANY_CALLS', words, { retryAfterMs: RETRY_AFTER_MS });
  };

  return {
    serving: () => served !== undefined && closed === undefined,
    open: () => items.size,
    onServing(listener) {
      servingListeners.add(listener);
      return () => servingListeners.delete(listener);
    },
    find(id) {
      const item = served?.find(id);
      return item === undefined ? undefined : openInvocation(item, clock);
    },
    deepestCall() {
      let deepest = 0;
      // what is not handed over yet cannot have caused anything
      for (const { id, lineage } of items) if (id !== undefined) deepest = Math.max(deepest, lineage.depth);
      return deepest;
    },
    blame: options.onViolation,
    tooLarge() {
      // health and stop have answers of a few bytes
      const suspects = [...items].filter(({ id, urgent }) => id !== undefined && !urgent);
      if (suspects.length !== 1) return;
      suspects[0]?.settle(new HostError('MESSAGE_TOO_LARGE', `${moduleId} answered with more than a message may hold`));
    },
    async ask(work, ask: AskOptions) {
      const { signal, timeoutMs, urgent = false, traceParent = '', lineage = NO_LINEAGE } = ask;
      if (signal?.aborted) throw reasonOf(signal);
      const { stream, caller, bytes } = admit(work, urgent);
      return new Promise<InvocationOutcome>((resolve, reject) => {
        const giveUp = (error: HostError): void => {
          item.settle(error);
          stream.forget(item);
        };
        const onAbort = (): void => giveUp(reasonOf(signal as AbortSignal));
        const timer: PatientTimer = createPatientTimer(clock, timeoutMs, () =>
          giveUp(new HostError('DEADLINE_EXCEEDED', `${moduleId} did not answer within ${timeoutMs} ms`)),
        );
        const item: Item = {
          work,
          caller,
          urgent,
          traceParent,
          lineage,
          bytes,
          untilMs: clock.monotonicMs() + timeoutMs,
          id: undefined,
          onSent: ask.onSent,
          over: undefined,
          settle(result) {
            if (!items.delete(item)) return;
            timer.clear();
            signal?.removeEventListener('abort', onAbort);
            item.over?.abort(result instanceof HostError ? result : answered());
            if (result instanceof HostError) reject(result);
            else resolve(result);
          },
        };
        items.add(item);
        signal?.addEventListener('abort', onAbort, { once: true });
        stream.offer(item);
      });
    },
    attach() {
      if (closed !== undefined) throw closed;
      if (served !== undefined) {
        throw new HostError('STREAM_EXISTS', 'the session has a Serve stream; close it first');
      }
      const stream = createStream(options, (why) => {
        if (served === stream) served = undefined;
        // all items are of this stream: a second one cannot be opened before this one is closed
        for (const item of items) item.settle(why);
      });
      served = stream;
      for (const listener of servingListeners) listener();
      return stream;
    },
    retire() {
      retired = true;
    },
    close(why) {
      if (closed !== undefined) return;
      closed = why;
      served?.close(why);
    },
  };
}

interface OpenStream extends InvocationStream {
  offer(item: Item): void;
  /** The item's caller has gone: it is not handed over, or the module is told. */
  forget(item: Item): void;
  /** The open item that was handed over under this id. */
  find(id: bigint): Item | undefined;
}

function openInvocation(item: Item, clock: Clock): OpenInvocation {
  item.over ??= new AbortController();
  return {
    kind: item.work.$case,
    lineage: item.lineage,
    traceParent: item.traceParent,
    over: item.over.signal,
    timeLeftMs: () => Math.max(0, item.untilMs - clock.monotonicMs()),
  };
}

function createStream(options: InvocationDeskOptions, onClosed: (why: HostError) => void): OpenStream {
  const { clock, moduleId, onViolation } = options;
  const urgent: Item[] = [];
  const waiting = createCallerTurns<Item>();
  const sent = new Map<bigint, Item>();
  /** Ids given up, with the monotonic time until which an answer is not held against the module. */
  const givenUp = new Map<bigint, number>();
  let cancelled: bigint[] = [];
  let lastId = 0n;
  let atWork = 0;
  let most = MAX_PENDING_INVOCATIONS;
  let end: { why: HostError | undefined } | undefined;
  let wake: (() => void) | undefined;

  const stir = (): void => {
    const waiter = wake;
    wake = undefined;
    waiter?.();
  };
  const mayWork = (caller: string): boolean => {
    if (caller === HOST_ITSELF) return true;
    let own = 0;
    for (const item of sent.values()) if (!item.urgent && item.caller === caller) own += 1;
    return own < placesAtWork(most);
  };
  const take = (): InvocationBatch | undefined => {
    const batch: InvocationBatch = { invocations: [], cancelledIds: cancelled };
    cancelled = [];
    let bytes = 0;
    while (bytes < BATCH_BYTES) {
      const item = urgent.shift() ?? (atWork < most ? waiting.take(mayWork) : undefined);
      if (item === undefined) break;
      bytes += item.bytes;
      // one that would make the message too large goes with the next
      if (bytes > MAX_WORK_BYTES && batch.invocations.length > 0) {
        if (item.urgent) urgent.unshift(item);
        else waiting.putBack(item.caller, item);
        break;
      }
      batch.invocations.push(handOver(item));
    }
    return batch.invocations.length + batch.cancelledIds.length > 0 ? batch : undefined;
  };
  const handOver = (item: Item): Invocation => {
    lastId += 1n;
    item.id = lastId;
    sent.set(lastId, item);
    if (!item.urgent) atWork += 1;
    item.onSent?.();
    return {
      id: lastId,
      timeoutMs: Math.max(1, Math.ceil(item.untilMs - clock.monotonicMs())),
      traceParent: item.traceParent,
      work: item.work,
    };
  };
  const takeBack = (item: Item): void => {
    if (item.id === undefined || !sent.delete(item.id)) return;
    if (!item.urgent) atWork -= 1;
  };
  const isOnItsWay = (id: bigint): boolean => {
    const tolerated = givenUp.get(id);
    return tolerated !== undefined && givenUp.delete(id) && clock.monotonicMs() <= tolerated;
  };
  const answerOne = ({ id, outcome }: InvocationResult): void => {
    const item = sent.get(id);
    if (item === undefined) {
      if (!isOnItsWay(id)) {
        onViolation(
          id > 0n && id <= lastId
            ? 'an invocation was answered twice or late'
            : 'an invocation that was never asked was answered',
        );
      }
      return;
    }
    takeBack(item);
    const flaw = flawOf(item.work, outcome);
    if (outcome !== undefined && flaw === undefined) {
      if (outcome.$case === 'failure') {
        const { value } = outcome;
        item.settle({ $case: 'failure', value: { ...value, message: cutBytes(value.message, MAX_FAILURE_BYTES) } });
      } else item.settle(outcome);
      return;
    }
    const what = `an invocation of kind ${item.work.$case} ${flaw}`;
    onViolation(what);
    item.settle(new HostError('PROTOCOL_VIOLATION', `${moduleId}: ${what}`));
  };

  return {
    async next() {
      for (;;) {
        if (end?.why !== undefined) throw end.why;
        if (end !== undefined) return undefined;
        const batch = take();
        if (batch !== undefined) return batch;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    bound(maxConcurrent) {
      most = maxConcurrent === 0 ? MAX_PENDING_INVOCATIONS : Math.min(maxConcurrent, MAX_PENDING_INVOCATIONS);
      stir();
    },
    answer(results) {
      if (end !== undefined) return;
      for (const result of results) answerOne(result);
      // a place may have become free
      stir();
    },
    close(why) {
      if (end !== undefined) return;
      end = { why };
      urgent.length = 0;
      waiting.clear();
      sent.clear();
      givenUp.clear();
      onClosed(unavailable(`${moduleId} closed its Serve stream before it had answered`));
      stir();
    },
    find: (id) => sent.get(id),
    offer(item) {
      if (item.urgent) urgent.push(item);
      else waiting.add(item.caller, item);
      stir();
    },
    forget(item) {
      if (end !== undefined) return;
      if (item.id === undefined) {
        const place = urgent.indexOf(item);
        if (place >= 0) urgent.splice(place, 1);
        else waiting.remove(item.caller, item);
        return;
      }
      takeBack(item);
      cancelled.push(item.id);
      givenUp.set(item.id, item.untilMs + CROSSING_MS);
      // the oldest is the first of a Map
      if (givenUp.size > MAX_REMEMBERED) givenUp.delete(givenUp.keys().next().value as bigint);
      stir();
    },
  };
}

function answered(): HostError {
  return new HostError('CANCELLED', 'the invocation for whose sake the call was made has been answered');
}

function unavailable(message: string): HostError {
  return new HostError('MODULE_UNAVAILABLE', message, { retryAfterMs: RETRY_AFTER_MS });
}

function reasonOf(signal: AbortSignal): HostError {
  return signal.reason instanceof HostError ? signal.reason : new HostError('CANCELLED', 'the caller has gone');
}
