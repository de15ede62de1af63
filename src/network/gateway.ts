import type { Socket as DatagramSocket } from 'node:dgram';
import { Server, type Socket } from 'node:net';
import type { NetworkUse } from '../../gen/ts/modhost/admin/v1/status.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { createTokenBucket } from '../core/token-bucket.js';
import { createLocalNetworks, type LocalNetworks } from './address-policy.js';
import { createLedger, type Entry, type Parties } from './counters.js';
import { type DialAddress, dialDirectly } from './dial.js';
import { type Endpoint, endpointText } from './grants.js';
import { type InboundPorts, type Inside, openInboundPorts } from './inbound.js';
import { NETWORK_LIMITS, type NetworkLimits } from './limits.js';
import { createOutbound, isUnreached } from './outbound.js';
import { pipe } from './pipe.js';
import type { NetworkPlan, NetworkPolicy, PlannedListener } from './plan.js';
import type { NameResolver } from './resolver.js';
import { acceptSocks, readSocksRequest, rejectSocks } from './socks-server.js';
import { decodeDatagram, encodeDatagram } from './socks-wire.js';
import { closerOf, connectDatagrams, createExchanges, type ExchangeSpec } from './udp.js';

/** What the gateway of one module is made of. */
export interface GatewayOptions {
  /** The module's name: for the log, and for its circuits at the proxy. */
  readonly module: string;
  readonly plan: NetworkPlan;
  readonly policy: NetworkPolicy;
  readonly resolver: NameResolver;
  readonly clock: Clock;
  readonly log: Logger;
  /** Hears who speaks with whom, each time that it comes about. */
  readonly onOpened?: (parties: Parties) => void;
  /** Default: the host's own network. */
  readonly dial?: DialAddress;
  /** Default: as the system lists them. */
  readonly local?: LocalNetworks;
  /** Default: NETWORK_LIMITS. */
  readonly limits?: NetworkLimits;
}

/** The host's end of one module's network: everything that the module sends passes here, or stays in its namespace. */
export interface Gateway {
  /**
   * Serves one listener of the plan, which was opened in the module's namespace and is the gateway's from now on. Attach
   * before the module runs: what connects earlier is nobody's.
   */
  attach(id: string, listener: Server | DatagramSocket): void;
  /**
   * Opens the granted ports on this machine.
   *
   * @throws HostError NETWORK_UNAVAILABLE when a port is taken or needs privileges; nothing is open then
   */
  openInbound(inside: Inside): Promise<void>;
  /** What is granted, and what was done with it. */
  use(): NetworkUse;
  /** Breaks every connection and closes every listener and port; what comes later is refused. Idempotent. */
  close(): Promise<void>;
}

/** Makes the gateway of one spawn of a module. */
export function createGateway(options: GatewayOptions): Gateway {
  const { module, plan, policy, resolver, clock } = options;
  const limits = options.limits ?? NETWORK_LIMITS;
  const log = options.log.child({ module, event: 'network' });
  const ledger = createLedger(plan.grants, limits, clock, log, options.onOpened);
  const budget = createTokenBucket({ ratePerSecond: limits.bytesPerSecond, burst: limits.bytesBurst }, clock);
  const exchanges = createExchanges(ledger, budget, limits, clock);
  const outbound = createOutbound({
    ...{ module, policy, limits, resolver, grants: plan.grants },
    local: options.local ?? createLocalNetworks(),
    dial: options.dial ?? dialDirectly,
  });
  const planned = new Map(plan.listeners.map((listener) => [listener.id, listener]));
  const closers: (() => void | Promise<void>)[] = [];
  /** One per connection of the module's, so that closing ends all of them and waits for it. */
  const running = new Map<AbortController, Promise<void>>();
  let ports: InboundPorts | undefined;
  let associations = 0;
  let closing: Promise<void> | undefined;

  /** Connects, tells the client by `answer` where it waits for that, and carries until the end. */
  const relay = async (
    inside: Socket,
    target: Endpoint,
    entry: Entry,
    signal: AbortSignal,
    answer: { accept(): void; reject(outcome: string): void },
  ): Promise<void> => {
    const reached = await outbound.connect(target, signal);
    if (isUnreached(reached)) {
      entry.ended(signal.aborted ? 'closed' : reached.outcome, reached.why);
      answer.reject(reached.outcome);
      return;
    }
    const outside = reached.socket;
    if (signal.aborted || inside.destroyed) {
      outside.destroy();
      entry.ended(signal.aborted ? 'closed' : 'GONE');
      return;
    }
    entry.opened(reached.address);
    answer.accept();
    entry.ended(await pipe({ inside, outside, entry, budget, limits, clock, signal }));
  };

  const serveTarget = async (inside: Socket, target: Endpoint, entry: Entry, signal: AbortSignal): Promise<void> => {
    entry.aim(endpointText(target));
    await relay(inside, target, entry, signal, { accept: () => undefined, reject: () => reset(inside) });
  };

  const serveSocks = async (
    inside: Socket,
    { address, port }: PlannedListener,
    entry: Entry,
    signal: AbortSignal,
  ): Promise<void> => {
    const request = await readSocksRequest(inside, plan.grants.udp, limits.handshakeTimeoutMs, signal);
    if (request === undefined) return entry.ended('refused', 'no request that is served');
    if (request.command === 'udp-associate') {
      associations += 1;
      acceptSocks(inside, { kind: 'address', host: address, port });
      await untilClosed(inside);
      associations -= 1;
      return entry.withdraw();
    }
    entry.aim(endpointText(request.target));
    await relay(inside, request.target, entry, signal, {
      accept: () => acceptSocks(inside),
      reject: (outcome) => rejectSocks(inside, outcome),
    });
  };

  /** One exchange: the client's socket with one target, for which the host has a connected socket of its own. */
  const exchangeWith = (target: Endpoint, answer: (payload: Buffer) => void): ExchangeSpec => ({
    parties: { transport: 'udp', direction: 'out', target: endpointText(target) },
    answer,
    async open(listener, signal) {
      const address = await outbound.addressOf(target, signal);
      if (isUnreached(address)) {
        listener.failed(address.outcome, address.why);
        return undefined;
      }
      return { end: await connectDatagrams(address, target.port, listener, signal), address: address.text };
    },
  });

  const serveDatagrams = (inside: DatagramSocket, { purpose }: PlannedListener): void => {
    const close = closerOf(inside);
    closers.push(close);
    inside.on('error', close);
    inside.on('message', (bytes, { address, port }) => {
      if (closing !== undefined) return;
      const client = endpointText({ host: address, port });
      const reply = (payload: Buffer): void => inside.send(payload, port, address, () => undefined);
      if (purpose.kind === 'target') {
        const text = endpointText(purpose.target);
        exchanges.pass(`out ${client} ${text}`, bytes, () => exchangeWith(purpose.target, reply));
        return;
      }
      const datagram = associations === 0 ? undefined : decodeDatagram(bytes);
      if (datagram === undefined) return;
      const { target, payload } = datagram;
      exchanges.pass(`socks ${client} ${endpointText(target)}`, payload, () =>
        exchangeWith(target, (answer) => reply(encodeDatagram(target, answer))),
      );
    });
  };

  const serveConnections = (server: Server, listener: PlannedListener): void => {
    // a handle that came from another process was made into a server that knows of no half-open state
    Object.assign(server, { allowHalfOpen: true });
    closers.push(() => closeServer(server));
    server.on('connection', (inside) => {
      // always one listener: an error between two owners must not end the host
      inside.on('error', () => undefined);
      const { purpose } = listener;
      const entry =
        closing === undefined ? ledger.begin({ transport: 'tcp', direction: 'out', target: listener.id }) : undefined;
      if (entry === undefined) return reset(inside);
      const controller = new AbortController();
      const served =
        purpose.kind === 'socks'
          ? serveSocks(inside, listener, entry, controller.signal)
          : serveTarget(inside, purpose.target, entry, controller.signal);
      const ended = served
        .catch((error: unknown) => {
          entry.ended('INTERNAL');
          reset(inside);
          log.error({ err: error }, 'the gateway of a module failed');
        })
        .then(() => untilClosed(inside))
        .finally(() => running.delete(controller));
      controller.signal.addEventListener('abort', () => inside.destroy(), { once: true });
      running.set(controller, ended);
    });
  };

  return {
    attach(id, listener) {
      const found = planned.get(id);
      const isServer = listener instanceof Server;
      if (found === undefined || (found.kind === 'tcp') !== isServer || closing !== undefined) {
        throw new HostError('NETWORK_UNAVAILABLE', `no listener '${id}' is planned for the module '${module}'`);
      }
      if (isServer) serveConnections(listener, found);
      else serveDatagrams(listener, found);
    },
    async openInbound(inside) {
      const opened = await openInboundPorts({ ports: plan.inbound, inside, ledger, exchanges });
      if (closing !== undefined) await opened.close();
      else ports = opened;
    },
    use: () => ledger.use(),
    close() {
      closing ??= (async () => {
        const closed = [...closers.map((close) => close()), ports?.close()];
        exchanges.close();
        const ended = [...running.values()];
        for (const controller of running.keys()) controller.abort();
        await Promise.all([...closed, ...ended]);
      })();
      return closing;
    },
  };
}

/** Ends a connection as a port without a server would. */
function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy();
}

function untilClosed(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    // nothing is expected any more, and the end is heard only while somebody reads
    socket.once('end', () => socket.destroySoon());
    socket.resume();
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
