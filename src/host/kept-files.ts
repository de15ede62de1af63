import { join } from 'node:path';
import { FilesystemServiceService } from '../../gen/ts/modhost/v1/filesystem.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { Served } from '../ipc/server.js';
import { prepareDirectory } from '../ipc/socket.js';
import { createDiskMeter } from '../process/disk-meter.js';
import { createModuleFiles, type ModuleFiles } from '../services/filesystem/module-files.js';
import { createFilesystemService } from '../services/filesystem/service.js';
import type { Session } from '../session/session.js';
import type { HostOptions } from './options.js';
import type { ServedModule } from './parts.js';
import type { Slot } from './slot.js';

/** Directory below the host's data in which quotas and writes in flight are kept, out of the modules' reach. */
const FILES_DIRECTORY = 'files';
/** Bytes of one MiB, the unit of `limits.data_mb`. */
const MIB = 1_024 * 1_024;

/** The files of all modules. */
export interface KeptFiles {
  /** Before a spawn of the module starts. @throws HostError DATA_CORRUPT, DISK_FULL, UNSAFE_DATA_DIR */
  prepare(slot: Slot): Promise<void>;
  serve(session: Session, module: ServedModule): Served;
  close(): Promise<void>;
}

/** Makes what serves the files of the modules of one host. */
export function createKeptFiles(options: HostOptions, clock: Clock, log: Logger): KeptFiles {
  const modules = new Map<string, ModuleFiles>();
  const filesOf = (name: string): ModuleFiles => {
    const known = modules.get(name);
    if (known !== undefined) return known;
    const files = createModuleFiles({
      root: join(options.dataDir, 'modules', name),
      keepDir: join(options.dataDir, FILES_DIRECTORY, name),
      meter: createDiskMeter,
      clock,
    });
    modules.set(name, files);
    return files;
  };
  return {
    async prepare({ name }) {
      prepareDirectory(join(options.dataDir, FILES_DIRECTORY), 0o700, 'UNSAFE_DATA_DIR');
      await filesOf(name).prepare(log.child({ module: name }));
    },
    serve: (session, { slot, running }) => ({
      definition: FilesystemServiceService,
      impl: createFilesystemService({
        files: filesOf(slot.name),
        totalBytes: running.limits.dataMb * MIB,
        log: session.log,
      }),
    }),
    async close() {
      await Promise.all([...modules.values()].map((files) => files.close()));
    },
  };
}
