import type { Socket } from 'node:net';
import { type Address, kindHere, type LocalNetworks, parseAddress } from './address-policy.js';
import { beforeDeadline, createDeadline } from './deadline.js';
import { type DialAddress, dialFirst } from './dial.js';
import { type Endpoint, isLocalhost, type NetworkGrants } from './grants.js';
import type { NetworkLimits } from './limits.js';
import { createPlaces } from './places.js';
import type { NetworkPolicy } from './plan.js';
import type { NameResolver } from './resolver.js';
import { connectThroughProxy } from './socks-client.js';

/** Why a target was not reached: by policy, or by the network. */
export interface Unreached {
  /** `refused`, or the network's word: `UNRESOLVED`, `ECONNREFUSED`, … */
  readonly outcome: string;
  /** For the log; undefined where the outcome says it. */
  readonly why: string | undefined;
}

/** A connection, and the address at its other end: the proxy's target as asked where a proxy was used. */
export interface Reached {
  readonly socket: Socket;
  readonly address: string;
}

/** What one module can reach, by its grants and the operator's policy. */
export interface Outbound {
  /** Connects to a target that the module asked for. */
  connect(target: Endpoint, signal: AbortSignal): Promise<Reached | Unreached>;
  /** The address to which datagrams for a target go. */
  addressOf(target: Endpoint, signal: AbortSignal): Promise<Address | Unreached>;
}

/** What the reach of one module is made of. */
export interface OutboundOptions {
  readonly module: string;
  readonly grants: NetworkGrants;
  readonly policy: NetworkPolicy;
  readonly limits: NetworkLimits;
  readonly resolver: NameResolver;
  readonly local: LocalNetworks;
  readonly dial: DialAddress;
}

/** What covers one target. */
interface Cover {
  readonly allowPrivate: boolean;
  /** True when the target itself is in the list; false when "any public address" covers it. */
  readonly listed: boolean;
}

/** Makes the reach of one module. */
export function createOutbound(options: OutboundOptions): Outbound {
  const { grants, policy, limits, resolver, local } = options;
  const names = createPlaces(limits.maxResolving, limits.maxAwaitingNames);

  const coverOf = (target: Endpoint): Cover | Unreached => {
    const listed = grants.outbound.find(({ host, port }) => host === target.host && port === target.port);
    if (listed === undefined && !grants.outboundAny) return refused('no grant covers it');
    if (isLocalhost(target.host)) return refused('it means the module itself');
    if (target.kind === 'onion' && policy.proxy === undefined) return refused('onion services need a proxy');
    if (target.kind !== 'onion' && policy.onlynet === 'onion') return refused('onlynet = "onion"');
    return { allowPrivate: listed?.allowPrivate ?? false, listed: listed !== undefined };
  };

  /** Public addresses, those of a grant that may lead anywhere, and those that the operator has listed themselves. */
  const isAllowed = (address: Address, port: number, { allowPrivate }: Cover): boolean =>
    allowPrivate ||
    kindHere(address, local) === 'public' ||
    grants.outbound.some((grant) => grant.allowPrivate && grant.host === address.text && grant.port === port);

  /** The addresses of a target that may be dialled: resolved once, judged here, dialled as they are. */
  const judged = async (
    target: Endpoint,
    cover: Cover,
    signal: AbortSignal,
  ): Promise<readonly Address[] | Unreached> => {
    const literal = parseAddress(target.host);
    const found =
      literal !== undefined
        ? [literal]
        : await beforeDeadline(
            names.run(() => (cover.listed ? resolver.lookup(target.host) : resolver.query(target.host))),
            signal,
            limits.dnsTimeoutMs,
          );
    if (found === undefined || found.length === 0) return { outcome: 'UNRESOLVED', why: undefined };
    const allowed = found.filter((address) => isAllowed(address, target.port, cover));
    if (allowed.length > 0) return allowed;
    const kinds = [...new Set(found.map((address) => `${address.text} is ${kindHere(address, local)}`))];
    return refused(kinds.slice(0, 4).join(', '));
  };

  const through = async (
    proxy: NonNullable<NetworkPolicy['proxy']>,
    target: Endpoint,
    cover: Cover,
    signal: AbortSignal,
  ): Promise<Reached | Unreached> => {
    // a name stays a name: where it leads is the proxy's to judge, and asking here would tell the world
    const literal = parseAddress(target.host);
    if (literal !== undefined && !isAllowed(literal, target.port, cover)) {
      return refused(`${literal.text} is ${kindHere(literal, local)}`);
    }
    const answer = await connectThroughProxy(proxy, target, `modhost-${options.module}`, signal);
    if ('code' in answer) return { outcome: answer.code, why: 'through the proxy' };
    return { socket: answer.socket, address: `${target.host} through the proxy` };
  };

  const directly = async (target: Endpoint, cover: Cover, signal: AbortSignal): Promise<Reached | Unreached> => {
    const addresses = await judged(target, cover, signal);
    if ('outcome' in addresses) return addresses;
    const answer = await dialFirst(addresses, target.port, options.dial, signal);
    if ('code' in answer) return { outcome: answer.code, why: undefined };
    return { socket: answer.socket, address: answer.address.text };
  };

  return {
    async connect(target, parent) {
      const cover = coverOf(target);
      if ('outcome' in cover) return cover;
      const { proxy } = policy;
      const { signal, clear } = createDeadline(
        parent,
        proxy === undefined ? limits.connectTimeoutMs : limits.proxyTimeoutMs,
      );
      try {
        return await (proxy === undefined ? directly(target, cover, signal) : through(proxy, target, cover, signal));
      } finally {
        clear();
      }
    },
    async addressOf(target, signal) {
      const cover = coverOf(target);
      if ('outcome' in cover) return cover;
      if (policy.proxy !== undefined) return refused('it would leave beside the proxy');
      const addresses = await judged(target, cover, signal);
      if ('outcome' in addresses) return addresses;
      return addresses[0] ?? { outcome: 'UNRESOLVED', why: undefined };
    },
  };
}

/** True for an answer that says why not. */
export function isUnreached(answer: object): answer is Unreached {
  return 'outcome' in answer;
}

function refused(why: string): Unreached {
  return { outcome: 'refused', why };
}
