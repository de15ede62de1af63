import type { ErrorReason, HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { RestartVerdict } from '../process/restart.js';
import { inTurn, isAvailable, type Slot, type Waiting } from './slot.js';

/** Decides what follows when a module does not come up or goes down by itself, and sees to it. */
export interface Supervision {
  /** A start came to no process: the module waits for what it needs, or has failed. */
  startFailed(slot: Slot, error: HostError): void;
  /** The present spawn has ended and nobody had asked. */
  ended(slot: Slot, end: UnaskedEnd): void;
  /** The module waits for one that it needs; it starts by itself when that is Ready. */
  waitFor(slot: Slot, name: string): void;
  /** A module is Ready: starts all that wait for it. */
  available(name: string): void;
  /** Whatever the module waits for, it waits no longer: it is being started, or to rest. */
  release(slot: Slot): void;
}

/** How a module ended that nobody had asked to end. */
export interface UnaskedEnd {
  /** Why it is a crash; undefined when it ended with code 0 after it was Ready. */
  error: HostError | undefined;
  wasReady: boolean;
  /** How long it had been Ready, milliseconds. */
  readyMs: number;
  /** True when somebody else starts its process. */
  external: boolean;
}

/** What the supervision of a host's modules is made of. */
export interface SupervisionParts {
  clock: Clock;
  log: Logger;
  slots(): Iterable<Slot>;
  slot(name: string): Slot | undefined;
  isStopping(): boolean;
  /** Starts it in its turn; it tells its failure itself. */
  start(slot: Slot): Promise<void>;
}

/**
 * What another attempt may cure: the program's own failures, and what the host did not foresee. Every other reason is a
 * fault of manifest, operator or machine that lasts until somebody changes it.
 */
const CURABLE: ReadonlySet<ErrorReason> = new Set<ErrorReason>([
  'MODULE_CRASHED',
  'MODULE_HUNG',
  'STARTUP_TIMEOUT',
  'MEMORY_LIMIT',
  'DISK_LIMIT',
  'DISK_FULL',
  'INTERNAL',
]);

/** What the system lacks at the moment, so that a program could not be started. */
const PASSING_ERRNOS: ReadonlySet<unknown> = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'EIO']);

function isCurable({ reason, details }: HostError): boolean {
  return CURABLE.has(reason) || (reason === 'START_FAILED' && PASSING_ERRNOS.has(details.errno));
}

/** Makes the supervision of a host's modules. */
export function createSupervision(parts: SupervisionParts): Supervision {
  const { clock, log } = parts;

  /** Starts a module unless something else has happened to it before its turn comes. */
  const startStill = (slot: Slot, waiting: Waiting): void => {
    const starting = inTurn(slot, async () => {
      if (slot.waiting === waiting && slot.wanted && !parts.isStopping()) await parts.start(slot);
    });
    starting.catch(() => {});
  };
  const release = (slot: Slot): void => {
    if (slot.waiting?.kind === 'time') clearTimeout(slot.waiting.timer);
    slot.waiting = undefined;
  };
  const startIn = (slot: Slot, inMs: number): void => {
    release(slot);
    const waiting: Waiting = {
      kind: 'time',
      dueMs: clock.monotonicMs() + inMs,
      timer: setTimeout(() => startStill(slot, waiting), inMs),
    };
    slot.waiting = waiting;
  };
  const waitFor = (slot: Slot, name: string): void => {
    release(slot);
    const waiting: Waiting = { kind: 'module', name };
    slot.waiting = waiting;
    // it may have become Ready in the very moment in which it was found missing
    if (isAvailable(parts.slot(name))) startStill(slot, waiting);
  };

  /** Follows the verdict; `cause` is a sentence on what has happened. */
  const follow = (slot: Slot, verdict: RestartVerdict, cause: string, stays: 'STOPPED' | 'FAILED'): void => {
    if (verdict.next === 'restart') {
      startIn(slot, verdict.inMs);
      log.warn({ module: slot.name, inMs: verdict.inMs }, 'is started again by itself');
      slot.move('BACKOFF', `is started again after ${(verdict.inMs / 1_000).toFixed(1)} s: ${cause}`);
    } else if (verdict.next === 'quarantine') {
      const { crashes, windowS } = verdict;
      log.error(
        { module: slot.name, crashes, windowS },
        'crashed too often and is not started again until it is loaded',
      );
      slot.move('QUARANTINED', `crashed ${crashes} times within ${windowS} s; load it to release it. Last: ${cause}`);
    } else {
      slot.wanted = false;
      slot.move(stays, cause);
    }
  };

  return {
    release,
    waitFor,
    available(name) {
      for (const slot of parts.slots()) {
        if (slot.waiting?.kind === 'module' && slot.waiting.name === name) startStill(slot, slot.waiting);
      }
    },
    startFailed(slot, error) {
      const needs = error.reason === 'DEPENDENCY_MISSING' ? error.details.needs : undefined;
      if (typeof needs === 'string') {
        slot.move('BACKOFF', `waits for ${needs}: it starts by itself when that is ready`);
        waitFor(slot, needs);
      } else if (isCurable(error)) {
        follow(slot, slot.book.crashed(0), error.message, 'FAILED');
      } else {
        slot.move('FAILED', error.message);
      }
    },
    ended(slot, { error, wasReady, readyMs, external }) {
      if (parts.isStopping()) return slot.move('STOPPED', 'the host is stopping');
      if (external) {
        // whoever starts it minds its restarts; its place is offered anew at once
        slot.book.crashed(readyMs);
        return startIn(slot, 0);
      }
      if (error === undefined) return follow(slot, slot.book.ended(readyMs), 'ended by itself with code 0', 'STOPPED');
      if (!isCurable(error)) return slot.move('FAILED', error.message);
      const verdict = slot.book.crashed(readyMs);
      if (verdict.next !== 'stay') return follow(slot, verdict, error.message, 'STOPPED');
      const policy = 'its restart policy is "never"';
      follow(slot, verdict, `${error.message}; ${policy}`, wasReady ? 'STOPPED' : 'FAILED');
    },
  };
}
