import type { Clock } from '../../core/clock.js';

/** Longest stretch for which one timer of the platform is set, milliseconds; Node fires at once above 2^31 - 1. */
const MAX_WAIT_MS = 3_600_000;
/**
 * Shortest time between two wakes, milliseconds: what falls due in between goes together, so that many modules with many
 * timers wake the host at most a hundred times a second, and ticks of one module share a message of its stream.
 */
const WAKE_SPACING_MS = 10;
/** Appointments that one turn of the loop keeps; the rest follow in the next turn, so that calls get in between. */
const MAX_PER_TURN = 512;

/** One thing to be done at a moment; done once, unless it is called off before. */
export interface Appointment {
  /** Calls it off. Idempotent. */
  cancel(): void;
}

/** What is to be done, by the monotonic clock: one for a whole host, however many modules set timers. */
export interface Schedule {
  /** @param dueMs moment of the monotonic clock, milliseconds; a past one is kept at the next wake */
  at(dueMs: number, keep: () => void): Appointment;
  /** Appointments that are set. */
  size(): number;
  /** Calls everything off. */
  close(): void;
}

/** A node of the heap; `place` is -1 when it is out of it. */
interface Entry {
  dueMs: number;
  /** Of two that are due at the same moment the one that was set first goes first. */
  turn: number;
  keep: () => void;
  place: number;
}

/** Makes an empty schedule: a binary heap by due time and one timer of the platform for the first of it. */
export function createSchedule(clock: Clock): Schedule {
  const heap: Entry[] = [];
  let timer: NodeJS.Timeout | undefined;
  let rest: NodeJS.Immediate | undefined;
  let turns = 0;
  let isWaking = false;
  let timerDueMs = Number.POSITIVE_INFINITY;
  let wokeMs = Number.NEGATIVE_INFINITY;

  const arm = (): void => {
    if (isWaking || rest !== undefined) return;
    const first = heap[0];
    if (first === undefined) {
      clearTimeout(timer);
      timerDueMs = Number.POSITIVE_INFINITY;
      return;
    }
    const now = clock.monotonicMs();
    const dueMs = Math.min(Math.max(first.dueMs, wokeMs + WAKE_SPACING_MS), now + MAX_WAIT_MS);
    // a timer that is set earlier finds nothing due and is set anew
    if (timerDueMs <= dueMs) return;
    clearTimeout(timer);
    timerDueMs = dueMs;
    timer = setTimeout(wake, Math.max(1, Math.ceil(dueMs - now)));
  };
  const wake = (): void => {
    rest = undefined;
    timerDueMs = Number.POSITIVE_INFINITY;
    wokeMs = clock.monotonicMs();
    isWaking = true;
    let left = MAX_PER_TURN;
    for (let first = heap[0]; left > 0 && first !== undefined && first.dueMs <= wokeMs; first = heap[0]) {
      takeOut(heap, first);
      first.keep();
      left -= 1;
    }
    isWaking = false;
    if (left > 0) arm();
    else rest = setImmediate(wake);
  };

  return {
    at(dueMs, keep) {
      turns += 1;
      const entry: Entry = { dueMs, turn: turns, keep, place: heap.length };
      heap.push(entry);
      rise(heap, entry);
      arm();
      return {
        cancel: () => {
          if (entry.place < 0) return;
          takeOut(heap, entry);
          // nothing left: no timer of the platform stays set
          if (heap.length === 0) arm();
        },
      };
    },
    size: () => heap.length,
    close() {
      for (const entry of heap.splice(0)) entry.place = -1;
      clearTimeout(timer);
      clearImmediate(rest);
      rest = undefined;
      timerDueMs = Number.POSITIVE_INFINITY;
    },
  };
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.turn < b.turn);
}

function takeOut(heap: Entry[], entry: Entry): void {
  const last = heap.pop() as Entry;
  if (last !== entry) {
    put(heap, last, entry.place);
    rise(heap, last);
    sink(heap, last);
  }
  entry.place = -1;
}

function put(heap: Entry[], entry: Entry, place: number): void {
  heap[place] = entry;
  entry.place = place;
}

function rise(heap: Entry[], entry: Entry): void {
  while (entry.place > 0) {
    const parent = heap[(entry.place - 1) >> 1] as Entry;
    if (!isBefore(entry, parent)) return;
    swap(heap, entry, parent);
  }
}

function sink(heap: Entry[], entry: Entry): void {
  for (;;) {
    const left = heap[2 * entry.place + 1];
    const right = heap[2 * entry.place + 2];
    const child = right !== undefined && left !== undefined && isBefore(right, left) ? right : left;
    if (child === undefined || !isBefore(child, entry)) return;
    swap(heap, child, entry);
  }
}

function swap(heap: Entry[], a: Entry, b: Entry): void {
  const { place } = a;
  put(heap, a, b.place);
  put(heap, b, place);
}
