import type { InvocationWork } from './invocations.js';

/**
 * What a caller may take of what the others leave: one half of it, rounded up. So the first who asks finds room for half of
 * everything, whoever comes next for a quarter, and one caller alone, whatever it does, never leaves none to the others.
 */
const SHARE_OF_FREE = 2;
/** Places at work that one caller leaves to the others, of a module that takes two or more at a time. */
const PLACES_LEFT = 1;
/** People and programs at the front door; no module has a name with a space. */
const FRONT_DOOR = 'front door';
/** People at the command line. */
const COMMAND_LINE = 'command line';
/** The host by itself: timers, tasks, changes. The module brings them on itself, so nothing is kept from them. */
export const HOST_ITSELF = 'the host';

/** For whom a piece of work is done: a module by its name, or one of the three above. */
export function callerOf(work: InvocationWork): string {
  switch (work.$case) {
    case 'api':
      return work.value.caller;
    case 'rpc':
      return FRONT_DOOR;
    case 'cli':
      return COMMAND_LINE;
    default:
      return HOST_ITSELF;
  }
}

/** The most of `total` that one caller may have, in any unit, while the others have `others` of it. */
export function shareOf(total: number, others: number): number {
  return Math.ceil(Math.max(0, total - others) / SHARE_OF_FREE);
}

/** The most of `most` pieces of work in the module's hands that may be of one caller. */
export function placesAtWork(most: number): number {
  return Math.max(1, most - PLACES_LEFT);
}

/** Things that wait, dealt out to their callers in turn, and to each in its order. */
export interface CallerTurns<T> {
  add(caller: string, item: T): void;
  /** Takes the next thing of the first caller in turn that `may` allows; that caller is the last in turn then. */
  take(may: (caller: string) => boolean): T | undefined;
  /** Puts what was taken last back to where it was. */
  putBack(caller: string, item: T): void;
  remove(caller: string, item: T): void;
  clear(): void;
}

/** Makes one with nothing in it. */
export function createCallerTurns<T>(): CallerTurns<T> {
  // a Map keeps its order: the first key is the next in turn, and only who waits is in it
  let lines = new Map<string, T[]>();
  return {
    add(caller, item) {
      const line = lines.get(caller);
      if (line === undefined) lines.set(caller, [item]);
      else line.push(item);
    },
    take(may) {
      for (const [caller, line] of lines) {
        if (!may(caller)) continue;
        const item = line.shift();
        lines.delete(caller);
        if (line.length > 0) lines.set(caller, line);
        return item;
      }
      return undefined;
    },
    putBack(caller, item) {
      const line = lines.get(caller) ?? [];
      lines.delete(caller);
      lines = new Map([[caller, [item, ...line]], ...lines]);
    },
    remove(caller, item) {
      const line = lines.get(caller) ?? [];
      const place = line.indexOf(item);
      if (place >= 0) line.splice(place, 1);
      if (line.length === 0) lines.delete(caller);
    },
    clear: () => lines.clear(),
  };
}
