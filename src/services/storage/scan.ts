import type { ScanResponse, StorageEntry } from '../../../gen/ts/modhost/v1/storage.js';
import { HostError } from '../../contract/error.js';
import { MAX_BATCH_BYTES } from '../../events/frame.js';
import { type Engine, type Walk, walk } from './engine.js';
import { corrupt } from './failure.js';
import { type KeyRange, moduleKeyOf } from './layout.js';
import { MAX_OPEN_SCANS } from './limits.js';
import type { Tree } from './records.js';
import { unsealed } from './seal.js';

/** A range of one tree, as a scan reads it. */
export interface ScanOrder {
  readonly range: KeyRange;
  readonly reverse: boolean;
  /** Most entries; 0 = all. */
  readonly limit: bigint;
  readonly keysOnly: boolean;
}

/** The scans of one storage that are open. */
export interface Scans {
  /** Begins a scan on the present state. @throws TOO_MANY_CALLS */
  begin(engine: Engine, tree: Tree, order: ScanOrder): AsyncGenerator<ScanResponse>;
  /** Ends the scans of a tree that was deleted. */
  endTree(tree: number): void;
  /** Ends all scans. */
  endAll(why: HostError): void;
  /** So many bytes were written; ends scans that keep more of what is past than the storage may hold. */
  written(bytes: number, mostBytes: number): void;
}

interface OpenScan {
  tree: number;
  walk: Walk;
  /** Bytes that were written since it began. */
  past: number;
  why: HostError | undefined;
}

/** What an entry of a message costs beside key and value, bytes: tags and lengths. */
const ENTRY_OVERHEAD = 12;

/** Makes the book of a storage's scans. @param read runs one read of the engine in its turn */
export function createScans(read: <T>(work: () => Promise<T>) => Promise<T>): Scans {
  const open = new Set<OpenScan>();
  const end = (scan: OpenScan, why: HostError): void => {
    scan.why ??= why;
    open.delete(scan);
    void scan.walk.close();
  };

  async function* entries(scan: OpenScan, { limit, keysOnly }: ScanOrder): AsyncGenerator<StorageEntry> {
    let left = limit === 0n ? -1n : limit;
    for (;;) {
      const chunk = await read(() => scan.walk.next()).catch((error: unknown) => {
        throw scan.why ?? error;
      });
      if (scan.why !== undefined) throw scan.why;
      if (chunk.length === 0) return;
      for (const [place, stored] of chunk) {
        const entry = unsealed(place, stored);
        if (entry === undefined) throw corrupt('an entry of this range is changed');
        yield { key: moduleKeyOf(place), value: keysOnly ? new Uint8Array() : entry.value };
        left -= 1n;
        if (left === 0n) return;
      }
    }
  }

  return {
    begin(engine, tree, order) {
      if (open.size >= MAX_OPEN_SCANS) {
        throw new HostError('TOO_MANY_CALLS', `${MAX_OPEN_SCANS} scans of this module are open; finish one`);
      }
      const scan: OpenScan = { tree: tree.id, walk: walk(engine, order.range, order.reverse), past: 0, why: undefined };
      open.add(scan);
      return (async function* batches() {
        try {
          let batch: StorageEntry[] = [];
          let bytes = 0;
          for await (const entry of entries(scan, order)) {
            const size = entry.key.byteLength + entry.value.byteLength + ENTRY_OVERHEAD;
            if (batch.length > 0 && bytes + size > MAX_BATCH_BYTES) {
              yield { entries: batch };
              // it may have lain for long while its reader was slow
              if (scan.why !== undefined) throw scan.why;
              batch = [];
              bytes = 0;
            }
            batch.push(entry);
            bytes += size;
          }
          if (batch.length > 0) yield { entries: batch };
        } finally {
          open.delete(scan);
          await scan.walk.close();
        }
      })();
    },
    endTree(tree) {
      const gone = new HostError('NOT_FOUND', 'the tree was deleted while it was scanned');
      for (const scan of open) if (scan.tree === tree) end(scan, gone);
    },
    endAll(why) {
      for (const scan of open) end(scan, why);
    },
    written(bytes, mostBytes) {
      for (const scan of open) {
        scan.past += bytes;
        if (scan.past <= mostBytes) continue;
        const what = `more than ${mostBytes} bytes were written while this scan was open; begin anew behind the last key`;
        end(scan, new HostError('QUOTA_EXCEEDED', what));
      }
    },
  };
}
