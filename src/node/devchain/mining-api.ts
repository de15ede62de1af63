import { HostError, throwIfAborted } from '../../contract/error.js';
import { blockHash, HEADER_BYTES } from '../../core/bitcoin/header.js';
import { toHex } from '../../core/bytes.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { MiningApi, SubmitBlockVerdict } from '../node-api.js';
import type { Opened } from './chain-api.js';
import type { Serial } from './serial.js';
import { makeTemplate } from './template.js';

/** Blocks handed in and not checked yet; each may be 4 MB. */
const MAX_QUEUED_BLOCKS = 16;

/** What templates and submissions need. */
export interface MiningParts {
  opened: Opened;
  serial: Serial;
  clock: Clock;
  logger: Logger;
  /** Checks a block and lets the chain follow it; runs inside the queue. */
  accept(raw: Uint8Array): Promise<SubmitBlockVerdict>;
}

/** Templates of and blocks for the devchain. */
export function createMiningApi(parts: MiningParts): MiningApi {
  const { opened, serial, clock, logger } = parts;
  let queued = 0;
  return {
    async getTemplate(rules, signal) {
      throwIfAborted(signal);
      return serial(async () => {
        throwIfAborted(signal);
        const { chain, mempool } = opened();
        return makeTemplate(chain.tree.tip, mempool.pool, rules, clock);
      });
    },
    async submitBlock(raw, signal) {
      throwIfAborted(signal);
      return serial(async () => {
        throwIfAborted(signal);
        return parts.accept(raw);
      });
    },
    /** Takes the block and answers at once; what became of it is in the log and in the events. @throws NODE_BUSY */
    async queueBlock(raw, signal) {
      throwIfAborted(signal);
      opened();
      if (queued >= MAX_QUEUED_BLOCKS) {
        throw new HostError('NODE_BUSY', `${MAX_QUEUED_BLOCKS} blocks wait to be checked`, { retryAfterMs: 100 });
      }
      queued += 1;
      const copy = Uint8Array.from(raw);
      void serial(() => parts.accept(copy))
        .then((verdict) => logger.info({ hash: hashOf(copy), ...verdict }, 'checked a queued block'))
        .catch((error: unknown) => logger.warn({ error }, 'a queued block could not be checked'))
        .finally(() => {
          queued -= 1;
        });
    },
  };
}

/** Display byte order; empty when the bytes are too few for a header. */
function hashOf(raw: Uint8Array): string {
  return raw.byteLength < HEADER_BYTES ? '' : toHex(blockHash(raw.subarray(0, HEADER_BYTES)).reverse());
}
