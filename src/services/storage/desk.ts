import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { EngineOptions } from './engine.js';
import { READS_AT_ONCE, WRITES_AT_ONCE } from './limits.js';
import { openStore, type Store } from './store.js';
import { createTurns } from './turns.js';

/** The storages of a host's modules. Of each at most one is open, whatever spawns replace each other. */
export interface StorageDesk {
  /**
   * Opens a module's storage ahead of its spawn, so that a damaged one keeps it from starting.
   *
   * @throws DATA_CORRUPT, DISK_FULL, READ_ONLY
   */
  prepare(name: string, quotaBytes: number): Promise<void>;
  /** A spawn uses the storage until its session ends; it is opened when it is first asked for. */
  hold(name: string, quotaBytes: number, ended: AbortSignal): StorageHold;
  /** What an open storage holds; undefined for one that is not open. */
  usage(name: string): { bytes: number; keys: number } | undefined;
  /** Storages that are open, by their modules' names. */
  open(): ReadonlyMap<string, Store>;
  /** Closes all. */
  close(): Promise<void>;
}

/** A spawn's way to its module's storage. */
export interface StorageHold {
  store(): Promise<Store>;
}

/** What the desk is made of. */
export interface DeskParts {
  /** Directory of all storages. */
  readonly room: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly engine?: EngineOptions;
}

/** Time for which a storage stays open that was prepared for a spawn which then does not come, milliseconds. */
const PREPARED_MS = 30_000;
const PREPARED = 'prepared';

interface Shelf {
  /** Undefined when it is not open, nor being opened. */
  opening: Promise<Store> | undefined;
  open: Store | undefined;
  /** Resolves when the one before is closed. */
  closed: Promise<void>;
  /** Sessions, and the spawn that was prepared and has none yet. */
  users: Set<AbortSignal | typeof PREPARED>;
  preparedTimer: NodeJS.Timeout | undefined;
  quotaBytes: number;
}

/** Makes the desk of a host; nothing is opened yet. */
export function createStorageDesk(parts: DeskParts): StorageDesk {
  const shelves = new Map<string, Shelf>();
  const turns = { reads: createTurns(READS_AT_ONCE), writes: createTurns(WRITES_AT_ONCE) };
  let over = false;

  const shelfOf = (name: string): Shelf => {
    const found = shelves.get(name);
    if (found !== undefined) return found;
    const shelf: Shelf = {
      opening: undefined,
      open: undefined,
      closed: Promise.resolve(),
      users: new Set(),
      preparedTimer: undefined,
      quotaBytes: 0,
    };
    shelves.set(name, shelf);
    return shelf;
  };
  const open = (name: string, shelf: Shelf): Promise<Store> => {
    if (over) return Promise.reject(new HostError('HOST_STOPPING', 'the host is stopping'));
    shelf.opening ??= (async () => {
      await shelf.closed;
      const store = await openStore({ ...parts, ...turns, name, quotaBytes: shelf.quotaBytes });
      shelf.open = store;
      return store;
    })();
    const { opening } = shelf;
    // what could not be opened is tried anew by whoever asks next
    opening.catch(() => {
      if (shelf.opening === opening) shelf.opening = undefined;
    });
    return opening;
  };
  const close = (shelf: Shelf): Promise<void> => {
    const { opening } = shelf;
    shelf.opening = undefined;
    shelf.open = undefined;
    const before = shelf.closed;
    shelf.closed = (async () => {
      await before;
      const store = await opening?.catch(() => undefined);
      await store?.close().catch((err: unknown) => {
        parts.log.error({ err }, 'a storage could not be closed as it should');
      });
    })();
    return shelf.closed;
  };
  const leave = (shelf: Shelf, user: AbortSignal | typeof PREPARED): void => {
    if (user === PREPARED) clearTimeout(shelf.preparedTimer);
    if (shelf.users.delete(user) && shelf.users.size === 0) void close(shelf);
  };
  const limit = (shelf: Shelf, quotaBytes: number): void => {
    shelf.quotaBytes = quotaBytes;
    shelf.open?.limit(quotaBytes);
  };

  return {
    async prepare(name, quotaBytes) {
      const shelf = shelfOf(name);
      limit(shelf, quotaBytes);
      // a user of its own until the spawn has come, or does not
      shelf.users.add(PREPARED);
      clearTimeout(shelf.preparedTimer);
      shelf.preparedTimer = setTimeout(() => leave(shelf, PREPARED), PREPARED_MS).unref();
      try {
        await open(name, shelf);
      } catch (error) {
        leave(shelf, PREPARED);
        throw error;
      }
    },
    hold(name, quotaBytes, ended) {
      const shelf = shelfOf(name);
      limit(shelf, quotaBytes);
      if (!ended.aborted) {
        shelf.users.add(ended);
        ended.addEventListener('abort', () => leave(shelf, ended), { once: true });
      }
      leave(shelf, PREPARED);
      return {
        async store() {
          if (ended.aborted) throw ended.reason;
          return open(name, shelf);
        },
      };
    },
    usage: (name) => shelves.get(name)?.open?.size(),
    open: () =>
      new Map([...shelves].flatMap(([name, { open: store }]) => (store === undefined ? [] : [[name, store]]))),
    async close() {
      over = true;
      for (const { preparedTimer } of shelves.values()) clearTimeout(preparedTimer);
      await Promise.all([...shelves.values()].map(close));
    },
  };
}
