import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import { storageFailure } from './failure.js';
import { closeFiles, type FilesParts, hasRoomToOpen, type OpenFiles, openFiles } from './files.js';

/**
 * Time between two attempts to open a storage again whose disk was full or failed, milliseconds: each reads all of it, and a
 * module may ask a thousand times a second.
 */
const RETRY_MS = 500;

/** The open files of one storage, opened again after a failure of the disk. */
export interface Current {
  /** The files for reading; what was written stays readable after a write has failed. @throws why there are none */
  toRead(): Promise<OpenFiles>;
  /**
   * The files for writing. After a failed write the engine's log ends in a fragment behind which nothing would be found
   * again, so they are closed and opened anew before anything more is written.
   *
   * @throws DISK_FULL, DATA_CORRUPT, INTERNAL: what failed, while it lasts
   */
  toWrite(): Promise<OpenFiles>;
  /** The files as they are, without waiting. */
  peek(): OpenFiles | undefined;
  /** A write has failed. @returns the failure by its reason */
  failed(error: unknown): HostError;
  close(): Promise<void>;
}

/** What keeps files current. */
export interface CurrentParts extends FilesParts {
  readonly clock: Clock;
  /** Hears that the files are about to be closed, so that nobody goes on reading from them. */
  onClosing(why: HostError): void;
}

/** Opens the files and keeps them. @throws as openFiles */
export async function openCurrent(parts: CurrentParts): Promise<Current> {
  const { clock } = parts;
  let files: OpenFiles | undefined = await openFiles(parts);
  let fault: HostError | undefined;
  let triedMs = 0;
  let reopening: Promise<OpenFiles> | undefined;
  let closed = false;
  const over = (): HostError => new HostError('SESSION_CLOSED', 'the storage is closed');

  const reopen = async (why: HostError): Promise<OpenFiles> => {
    if (clock.monotonicMs() - triedMs < RETRY_MS) throw why;
    triedMs = clock.monotonicMs();
    try {
      if (why.reason === 'DISK_FULL' && !(await hasRoomToOpen(parts.place))) throw why;
      if (files !== undefined) {
        const ending = files;
        files = undefined;
        parts.onClosing(why);
        await closeFiles(ending);
      }
      if (closed) throw over();
      files = await openFiles(parts);
      fault = undefined;
      parts.log.info({ module: parts.name }, 'the storage is written to again');
      return files;
    } catch (error) {
      fault = storageFailure(error);
      throw fault;
    }
  };
  const again = (why: HostError): Promise<OpenFiles> => {
    reopening ??= reopen(why).finally(() => {
      reopening = undefined;
    });
    return reopening;
  };

  return {
    peek: () => files,
    async toRead() {
      if (closed) throw over();
      return files ?? again(fault ?? over());
    },
    async toWrite() {
      if (closed) throw over();
      return fault === undefined && files !== undefined ? files : again(fault ?? over());
    },
    failed(error) {
      const failure = storageFailure(error);
      fault ??= failure;
      triedMs = clock.monotonicMs();
      parts.log.error({ module: parts.name, reason: failure.reason, err: failure.cause }, failure.message);
      return failure;
    },
    async close() {
      closed = true;
      await reopening?.catch(() => {});
      if (files !== undefined) await closeFiles(files);
      files = undefined;
    },
  };
}
