import type { FilesystemServiceService } from '../../../gen/ts/modhost/v1/filesystem.js';
import { HostError } from '../../contract/error.js';
import type { ServiceImpl } from '../../contract/service.js';
import type { Logger } from '../../core/logger.js';
import { listDirectory } from './list.js';
import { createDirectory } from './make.js';
import { diskBytes, metadataOf } from './metadata.js';
import type { ModuleFiles } from './module-files.js';
import { parsePath } from './path.js';
import { readFile } from './read.js';
import { deleteFile, removeDirectory } from './remove.js';
import { wire } from './usage.js';
import { writeFile } from './write.js';

/** What the service of one session works with. */
export interface FilesystemParts {
  files: ModuleFiles;
  /** The module's total, bytes. */
  totalBytes: number;
  log: Logger;
}

/** Reads and writes files of a module's own data directory. */
export function createFilesystemService(parts: FilesystemParts): ServiceImpl<typeof FilesystemServiceService> {
  const { files, totalBytes, log } = parts;
  const { jail, staging, usage, turns, quotas } = files;

  /** A path that leads outside is told to the operator: the module is broken, or worse. */
  const watched = <T>(act: () => Promise<T>): Promise<T> =>
    act().catch((error: unknown) => {
      if (error instanceof HostError && error.reason === 'PATH_ESCAPE') files.escaped(log, error);
      throw error;
    });
  const inTurn = <T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> => watched(() => turns.act(signal, act));

  return {
    async *readFile(request, { signal }) {
      const leave = turns.stream();
      const pieces = readFile(jail, request, signal);
      try {
        for (let next = await watched(() => pieces.next()); next.done !== true; next = await pieces.next()) {
          yield next.value;
        }
      } finally {
        await pieces.return(undefined);
        leave();
      }
    },
    listDirectory: (request, { signal }) => inTurn(signal, () => listDirectory(jail, request, signal)),
    getMetadata: ({ path }, { signal }) =>
      inTurn(signal, async () => {
        const parsed = parsePath(path);
        return jail.within(parsed.slice(0, -1), signal, async (directory) => {
          const name = parsed.at(-1);
          const stats = name === undefined ? directory.stats : await jail.glance(directory, name);
          if (stats === undefined) throw new HostError('NOT_FOUND', 'there is nothing at this path');
          return { metadata: metadataOf(path, stats) };
        });
      }),
    getUsage: (_request, { signal }) =>
      inTurn(signal, async () => ({
        usedBytes: wire(await usage.total(signal)),
        quotaBytes: BigInt(totalBytes),
        directories: await usage.directories(signal),
      })),
    async writeFile(messages, { signal }) {
      const leave = turns.stream();
      try {
        return await watched(() => writeFile({ jail, staging, usage, totalBytes }, messages, signal));
      } finally {
        leave();
      }
    },
    deleteFile: ({ path }, { signal }) =>
      inTurn(signal, async () => {
        const stats = await deleteFile(jail, path, signal);
        usage.correct(parsePath(path).length > 1 ? parsePath(path)[0] : undefined, -diskBytes(stats));
        return {};
      }),
    createDirectory: ({ path, parents }, { signal }) =>
      inTurn(signal, async () => {
        await createDirectory({ jail, usage, totalBytes }, path, parents, signal);
        return {};
      }),
    removeDirectory: ({ path, recursive }, { signal }) =>
      inTurn(signal, async () => {
        await removeDirectory(jail, path, recursive, signal);
        const parts = parsePath(path);
        // a directory made anew under the name is another one
        if (parts.length === 1) await quotas.set(parts[0] as string, undefined);
        return {};
      }),
    setQuota: ({ path, quotaBytes }, { signal }) =>
      inTurn(signal, async () => {
        const [name, ...rest] = parsePath(path);
        if (name === undefined || rest.length > 0) {
          throw new HostError('INVALID_REQUEST', 'only a directory directly below the data directory has a quota');
        }
        if (quotaBytes > BigInt(totalBytes)) {
          throw new HostError('OUT_OF_RANGE', `the module's total is ${totalBytes} bytes`);
        }
        await jail.within([], signal, async (directory) => {
          const stats = await jail.glance(directory, name);
          if (stats === undefined) throw new HostError('NOT_FOUND', 'there is no such directory');
          if (!stats.isDirectory()) throw new HostError('INVALID_REQUEST', 'a file is there, not a directory');
        });
        await quotas.set(name, quotaBytes === 0n ? undefined : Number(quotaBytes));
        return {};
      }),
  };
}
