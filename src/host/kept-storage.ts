import { join } from 'node:path';
import { StorageServiceService } from '../../gen/ts/modhost/v1/storage.js';
import type { Permission } from '../contract/permission.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { Served } from '../ipc/server.js';
import { createStorageDesk, type StorageDesk } from '../services/storage/desk.js';
import { storageQuotaMb } from '../services/storage/limits.js';
import { createStorageService } from '../services/storage/service.js';
import type { Session } from '../session/session.js';
import type { KeptStatus } from './kept.js';
import type { HostOptions } from './options.js';
import type { ServedModule } from './parts.js';
import type { Slot } from './slot.js';
import type { UpkeepJob } from './upkeep.js';

/** The modules' storages, below the host's own directory and never in a module's sight. */
export interface KeptStorage {
  /** Opens the storage of a module that may use one. @throws HostError DATA_CORRUPT, DISK_FULL, READ_ONLY */
  prepare(slot: Slot): Promise<void>;
  serve(session: Session, module: ServedModule): Served;
  status(slot: Slot): Pick<KeptStatus, 'storageBytes' | 'storageKeys'>;
  /** Gives back the room of what modules have deleted, where it is worth it. */
  readonly upkeep: UpkeepJob;
  close(): Promise<void>;
}

/** Any of these opens a storage. */
const STORAGE_PERMISSIONS: readonly Permission[] = ['READ_STORAGE', 'WRITE_STORAGE', 'MANAGE_STORAGE'];
const MIB = 1024 * 1024;

/** Makes what the host keeps in trees of keys and values. */
export function createKeptStorage(options: HostOptions, clock: Clock, log: Logger): KeptStorage {
  const desk = createStorageDesk({ room: join(options.dataDir, 'storage'), clock, log });
  const quotaOf = ({ manifest }: Slot): number => storageQuotaMb(manifest.storage.quotaMb) * MIB;
  return {
    async prepare(slot) {
      const { manifest, settings } = slot;
      const wantsOne = STORAGE_PERMISSIONS.some(
        (permission) => manifest.capabilities.includes(permission) && (settings.grants?.includes(permission) ?? true),
      );
      if (wantsOne) await desk.prepare(slot.name, quotaOf(slot));
    },
    serve(session, { slot }) {
      const hold = desk.hold(slot.name, quotaOf(slot), session.ended);
      return { definition: StorageServiceService, impl: createStorageService(hold) };
    },
    status({ name }) {
      const usage = desk.usage(name);
      return { storageBytes: BigInt(usage?.bytes ?? 0), storageKeys: BigInt(usage?.keys ?? 0) };
    },
    upkeep: reclaimJob(desk, log),
    close: () => desk.close(),
  };
}

/** One storage after the other: rewriting reads and writes all of it. */
function reclaimJob(desk: StorageDesk, log: Logger): UpkeepJob {
  return {
    type: 'CLEANUP',
    async isDue() {
      for (const store of desk.open().values()) if ((await store.reclaimable()) > 0) return true;
      return false;
    },
    async run(signal) {
      let won = 0;
      let count = 0;
      for (const [module, store] of desk.open()) {
        if (signal.aborted || (await store.reclaimable()) === 0) continue;
        const bytes = await store.reclaim();
        log.info({ module, bytes }, 'gave back the room of what was deleted from a storage');
        won += bytes;
        count += 1;
      }
      return `${won} bytes of ${count} storages given back`;
    },
  };
}
