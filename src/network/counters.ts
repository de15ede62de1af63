import type { NetworkUse } from '../../gen/ts/modhost/admin/v1/status.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { createTokenBucket } from '../core/token-bucket.js';
import { grantWords, type NetworkGrants } from './grants.js';
import type { NetworkLimits } from './limits.js';

/**
 * How one attempt ended. `refused`: by policy or a bound of the host. `ended`: in order. `idle`: for its silence. `closed`:
 * by the host, because the module ends. Anything else is the network's own word, like `ECONNRESET`.
 */
export type Outcome = 'refused' | 'ended' | 'idle' | 'closed' | (string & {});

/** Who speaks with whom. */
export interface Parties {
  readonly transport: 'tcp' | 'udp';
  /** Seen from the module. */
  readonly direction: 'out' | 'in';
  /** `host:port` as the module asked for it, or the module's own port. */
  readonly target: string;
  /** `host:port` of who came from outside. */
  readonly peer?: string;
}

/** One connection or UDP exchange in the books, from the attempt to the end. */
export interface Entry {
  /** Says what the attempt aims at, where that is learnt after it has begun. */
  aim(target: string): void;
  /** It has come about, with this address at the other end. */
  opened(address: string): void;
  /** Bytes that the module sent. */
  sent(bytes: number): void;
  /** Bytes that reached the module. */
  received(bytes: number): void;
  /** A datagram was dropped: over a bound, or refused on its way. */
  dropped(): void;
  /** It was no connection of its own after all: gives its place back and counts nothing. */
  withdraw(): void;
  /** The end, told once; later calls do nothing. */
  ended(outcome: Outcome, why?: string): void;
}

/** The books of one module's network: what it may have open, what it has done, and a log line for each of it. */
export interface Ledger {
  /** Begins an entry; undefined when a bound is reached, which is counted and logged as refused. */
  begin(parties: Parties): Entry | undefined;
  use(): NetworkUse;
}

/**
 * Makes the books of one module's network, counting from nothing.
 *
 * @param onOpened hears who speaks with whom, each time that it comes about
 */
export function createLedger(
  grants: NetworkGrants,
  limits: NetworkLimits,
  clock: Clock,
  log: Logger,
  onOpened: (parties: Parties) => void = () => {},
): Ledger {
  const newcomers = { ratePerSecond: limits.newPerSecond, burst: limits.newBurst };
  // each direction has its own: a flood of strangers must not keep the module from its own targets
  const starts = { out: createTokenBucket(newcomers, clock), in: createTokenBucket(newcomers, clock) };
  const lines = createTokenBucket({ ratePerSecond: limits.logPerSecond, burst: limits.logBurst }, clock);
  const counts = { opened: 0n, refused: 0n, failed: 0n, sent: 0n, received: 0n };
  const places = { out: { tcp: 0, udp: 0 }, in: { tcp: 0, udp: 0 } };
  let open = 0;
  let unlogged = 0;

  const logFailure = (fields: Record<string, unknown>, refused: boolean): void => {
    if (lines.take(1) > 0) {
      unlogged += 1;
      return;
    }
    const line = unlogged === 0 ? fields : { ...fields, unlogged };
    unlogged = 0;
    if (refused) log.warn(line, 'refused a module the network');
    else log.info(line, 'a module did not reach its target');
  };

  const boundReached = ({ transport, direction }: Parties): string | undefined => {
    const most = transport === 'tcp' ? limits.maxConnections : limits.maxExchanges;
    if (places[direction][transport] >= most) return `more than ${most} at once`;
    return starts[direction].take(1) > 0 ? `more than ${limits.newPerSecond} new ones per second` : undefined;
  };

  return {
    begin(begun) {
      let parties = begun;
      const bound = boundReached(parties);
      if (bound !== undefined) {
        counts.refused += 1n;
        logFailure({ ...parties, outcome: 'refused', why: bound }, true);
        return undefined;
      }
      places[parties.direction][parties.transport] += 1;
      const startedMs = clock.monotonicMs();
      const own = { sent: 0, received: 0, dropped: 0 };
      let address: string | undefined;
      let over = false;
      return {
        aim(target) {
          parties = { ...parties, target };
        },
        opened(reached) {
          if (over || address !== undefined) return;
          address = reached;
          open += 1;
          counts.opened += 1n;
          onOpened(parties);
          log.debug({ ...parties, address }, 'a module is connected');
        },
        sent(bytes) {
          own.sent += bytes;
          counts.sent += BigInt(bytes);
        },
        received(bytes) {
          own.received += bytes;
          counts.received += BigInt(bytes);
        },
        dropped() {
          own.dropped += 1;
        },
        withdraw() {
          if (over || address !== undefined) return;
          over = true;
          places[parties.direction][parties.transport] -= 1;
        },
        ended(outcome, why) {
          if (over) return;
          over = true;
          places[parties.direction][parties.transport] -= 1;
          const ms = Math.round(clock.monotonicMs() - startedMs);
          const fields = { ...parties, ...(address === undefined ? {} : { address }), ...own, ms, outcome };
          const line = why === undefined ? fields : { ...fields, why };
          if (address !== undefined) {
            open -= 1;
            log.info(line, "a module's connection has ended");
            return;
          }
          const refused = outcome === 'refused';
          if (refused) counts.refused += 1n;
          else counts.failed += 1n;
          logFailure(line, refused);
        },
      };
    },
    use: () => ({
      grants: grantWords(grants),
      open,
      opened: counts.opened,
      refused: counts.refused,
      failed: counts.failed,
      sentBytes: counts.sent,
      receivedBytes: counts.received,
    }),
  };
}
