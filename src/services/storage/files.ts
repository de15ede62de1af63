import { statfs } from 'node:fs/promises';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { forgetAsFound, keepAsFound } from './as-found.js';
import { createBreath } from './breath.js';
import { type CommitFile, openCommitFile } from './commit-file.js';
import { type Engine, type EngineOptions, openEngine, WRITE_BUFFER_BYTES } from './engine.js';
import { storageFailure } from './failure.js';
import { type Inspection, type InspectionPace, inspect } from './inspect.js';
import type { Place } from './place.js';
import { proveTables, removeUnproven, restoreUnproven } from './tables.js';
import type { Turns } from './turns.js';

/** A storage whose files are open and were found whole. */
export interface OpenFiles extends Inspection {
  readonly engine: Engine;
  readonly commits: CommitFile;
}

/** What opening needs. */
export interface FilesParts {
  readonly name: string;
  readonly place: Place;
  readonly clock: Clock;
  readonly log: Logger;
  /** Places for reads of all modules. */
  readonly reads: Turns;
  readonly engine: EngineOptions;
}

/** Room that opening the engine needs: it writes its log anew as a table, and a new log. */
const OPEN_NEEDS_BYTES = 4 * WRITE_BUFFER_BYTES;

/**
 * Opens a module's storage and reads all of it once. A damaged one is set aside whole.
 *
 * @throws DATA_CORRUPT, DISK_FULL, READ_ONLY when another program holds it, INTERNAL
 */
export async function openFiles(parts: FilesParts): Promise<OpenFiles> {
  const { name, place, log } = parts;
  try {
    await place.prepare();
  } catch (error) {
    throw storageFailure(error);
  }
  try {
    return await openWhole(parts);
  } catch (thrown) {
    const error = storageFailure(thrown);
    if (error.reason !== 'DATA_CORRUPT') throw error;
    const aside = await place.setAside().catch((err: unknown) => {
      log.error({ module: name, err }, 'a damaged storage could not be set aside');
      return undefined;
    });
    log.error({ module: name, reason: error.reason, aside, err: error.cause }, error.message);
    throw error;
  }
}

async function openWhole({ name, place, clock, reads, engine: options }: FilesParts): Promise<OpenFiles> {
  const pace: InspectionPace = { breath: createBreath(clock), read: (work) => reads.run(name, work) };
  const commits = await openCommitFile(place.commitPath);
  let engine: Engine | undefined;
  try {
    await keepAsFound(place.engineDir, place.keptDir);
    await proveTables(place.engineDir, pace);
    engine = await openEngine(place.engineDir, options);
    const inspection = await inspect(engine, commits.head, pace);
    // a crash between the two: what the database has was written whole, so the file follows
    if (inspection.head.sequence > commits.head.sequence) await commits.write(inspection.head);
    await removeUnproven(place.engineDir);
    await forgetAsFound(place.keptDir);
    await place.settle();
    return { ...inspection, engine, commits };
  } catch (error) {
    if (storageFailure(error).reason === 'READ_ONLY') await restoreUnproven(place.engineDir);
    await engine?.close();
    await commits.close();
    throw error;
  }
}

/** Lets go of the files. */
export async function closeFiles({ engine, commits }: OpenFiles): Promise<void> {
  await engine.close();
  await commits.close();
}

/** True when the disk has the room that opening needs. */
export async function hasRoomToOpen(place: Place): Promise<boolean> {
  const { bavail, bsize } = await statfs(place.dir);
  return bavail * bsize >= OPEN_NEEDS_BYTES;
}
