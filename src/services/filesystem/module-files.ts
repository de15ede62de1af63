import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { faultOf } from './fault.js';
import { createJail, type Jail } from './jail.js';
import type { TreeMeter } from './ledger.js';
import { createQuotaBook, type QuotaBook } from './quota-book.js';
import { createStaging, type Staging } from './staging.js';
import { createTurns, type Turns } from './turns.js';
import { createUsage, type Usage } from './usage.js';

/** Name of the file with quotas, in the directory that the host keeps for the module. */
const QUOTAS_NAME = 'quotas.json';
/** Name of the directory with writes in flight beside it. */
const STAGING_DIRECTORY = 'staging';

/** What the host keeps to serve the files of one module, over all its spawns. */
export interface ModuleFiles {
  readonly jail: Jail;
  readonly staging: Staging;
  readonly usage: Usage;
  readonly turns: Turns;
  readonly quotas: QuotaBook;
  /** Before a spawn: reads what is kept, removes what a killed host has left. @throws HostError DATA_CORRUPT, DISK_FULL */
  prepare(log: Logger): Promise<void>;
  /** Tells the operator of a path that leads outside; one that goes on and on does not write the log full. */
  escaped(log: Logger, error: HostError): void;
  close(): Promise<void>;
}

/** What the files of one module are made of. */
export interface ModuleFilesParts {
  /** The data directory, absolute; the directory above it is the host's. */
  root: string;
  /** A directory of the host's own, for this module alone; made when it is missing. */
  keepDir: string;
  /** Measures a tree whose owner may be hostile. */
  meter(root: string): TreeMeter;
  clock: Clock;
}

/** Makes what serves the files of one module; nothing is opened before `prepare`. */
export function createModuleFiles({ root, keepDir, meter, clock }: ModuleFilesParts): ModuleFiles {
  const stagingDir = join(keepDir, STAGING_DIRECTORY);
  const jail = createJail(root);
  const staging = createStaging(stagingDir);
  const quotas = createQuotaBook(join(keepDir, QUOTAS_NAME));
  const usage = createUsage({ root, meter, quotas, clock });
  let escapes = 0;
  return {
    jail,
    staging,
    usage,
    turns: createTurns(),
    quotas,
    async prepare(log) {
      try {
        await mkdir(stagingDir, { recursive: true, mode: 0o700 });
      } catch (error) {
        throw faultOf(error);
      }
      await quotas.load();
      try {
        const swept = await staging.sweep(jail, new AbortController().signal);
        if (swept > 0) log.warn({ swept }, 'a host that was killed had left unfinished writes; they were removed');
      } catch (error) {
        const { reason } = faultOf(error);
        // before the first spawn there is no data directory; a hostile one is refused call by call
        if (reason !== 'NOT_FOUND') log.warn({ reason, err: error }, 'unfinished writes could not be looked for');
      }
    },
    escaped(log, error) {
      escapes += 1;
      if (!Number.isInteger(Math.log2(escapes))) return;
      log.warn({ reason: error.reason, count: escapes, err: error.cause }, error.message);
    },
    close: () => usage.close(),
  };
}
