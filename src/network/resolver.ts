import { lookup, Resolver } from 'node:dns/promises';
import type { Clock } from '../core/clock.js';
import { type Address, parseAddress } from './address-policy.js';
import { createPlaces } from './places.js';

/**
 * Turns names into addresses with the host's own means. It says nothing of what may be reached: the caller judges every
 * address, and dials the very one that it has judged.
 */
export interface NameResolver {
  /** As programs of this machine see the name, its hosts file included; empty when there is no answer. Never rejects. */
  lookup(name: string): Promise<readonly Address[]>;
  /** By DNS alone, the name taken as complete; empty when there is no answer. Never rejects. */
  query(name: string): Promise<readonly Address[]>;
}

/**
 * Lookups of all modules at once: getaddrinfo(3) blocks a thread of the pool of four that the host's files need as well,
 * and cannot be called off. Only names that the operator has granted get here.
 */
const MAX_LOOKUPS = 2;
/** Lookups that wait for that. */
const MAX_WAITING_LOOKUPS = 64;
/** Queries of all modules at once; they cost a datagram each. */
const MAX_QUERIES = 128;
/** Queries that wait for that. */
const MAX_WAITING_QUERIES = 256;
/** Most addresses of one name that are looked at. */
const MAX_ADDRESSES = 32;
/** First wait of one server for its answer, milliseconds, and how often each is asked. */
const QUERY_TIMEOUT_MS = 2_000;
const QUERY_TRIES = 2;
/** How long the machine's name servers are taken to be the same, milliseconds: they are read once per resolver. */
const SERVERS_KEPT_MS = 60_000;

/**
 * Makes the resolver of a host: one for all modules, because what it bounds is the machine's.
 *
 * @param servers name servers that `query` asks, `address` or `address:port`; undefined = the machine's
 */
export function createNameResolver(clock: Clock, servers?: readonly string[]): NameResolver {
  const make = () => {
    const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
    if (servers !== undefined) resolver.setServers(servers);
    return { resolver, madeMs: clock.monotonicMs() };
  };
  let current = make();
  const lookups = createPlaces(MAX_LOOKUPS, MAX_WAITING_LOOKUPS);
  const queries = createPlaces(MAX_QUERIES, MAX_WAITING_QUERIES);
  return {
    async lookup(name) {
      const found = await lookups.run(() => lookup(name, { all: true, verbatim: true }).catch(() => []));
      return parsed((found ?? []).map(({ address }) => address));
    },
    async query(name) {
      const found = await queries.run(async () => {
        if (clock.monotonicMs() - current.madeMs >= SERVERS_KEPT_MS) current = make();
        const { resolver } = current;
        const [six, four] = await Promise.all([
          resolver.resolve6(name).catch(() => []),
          resolver.resolve4(name).catch(() => []),
        ]);
        return interleaved(six, four);
      });
      return parsed(found ?? []);
    },
  };
}

/** RFC 8305, section 4: families take turns, so that a family without a route costs one attempt. */
function interleaved(first: readonly string[], second: readonly string[]): string[] {
  const most = Math.max(first.length, second.length);
  return Array.from({ length: most }, (_, index) => [first[index], second[index]])
    .flat()
    .filter((address) => address !== undefined);
}

function parsed(texts: readonly string[]): Address[] {
  return texts.slice(0, MAX_ADDRESSES).flatMap((text) => parseAddress(text) ?? []);
}
