import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import type { Clock } from '../core/clock.js';
import type { TokenBucket } from '../core/token-bucket.js';
import type { Address } from './address-policy.js';
import type { Entry, Ledger, Parties } from './counters.js';
import type { NetworkLimits } from './limits.js';

/** The far half of one exchange: where datagrams go, and how they come back. */
export interface FarEnd {
  send(datagram: Buffer): void;
  close(): void;
}

/** Who hears from the far half. */
export interface FarListener {
  datagram(payload: Buffer): void;
  /** It broke; nothing follows. */
  failed(outcome: string, why: string | undefined): void;
}

/** One exchange to begin. */
export interface ExchangeSpec {
  readonly parties: Parties;
  /** Opens the far half. Undefined when it cannot be had; it has told why then. */
  open(
    listener: FarListener,
    signal: AbortSignal,
  ): Promise<{ readonly end: FarEnd; readonly address: string } | undefined>;
  /** Takes what comes from the far half. */
  answer(payload: Buffer): void;
}

/** UDP exchanges of one module: a bounded table, each entry forgotten after a silence. */
export interface Exchanges {
  /**
   * Passes a datagram to the exchange of this key; begins one where there is none. What is over a bound is dropped, as
   * networks do.
   */
  pass(key: string, datagram: Buffer, spec: () => ExchangeSpec): void;
  /** Ends all of them. */
  close(): void;
}

interface Exchange {
  readonly entry: Entry;
  readonly controller: AbortController;
  /** Datagrams that wait for the far half. */
  readonly pending: Buffer[];
  /** Undefined until it is there. */
  end: FarEnd | undefined;
  /** Sends and counts. */
  forward(end: FarEnd, datagram: Buffer): void;
  lastMs: number;
}

/** How often silent exchanges are looked for, as a share of the time they have. */
const SWEEPS_PER_TIMEOUT = 4;

/** Makes the table of one module. */
export function createExchanges(ledger: Ledger, budget: TokenBucket, limits: NetworkLimits, clock: Clock): Exchanges {
  const exchanges = new Map<string, Exchange>();
  let sweeper: NodeJS.Timeout | undefined;

  const end = (key: string, exchange: Exchange, outcome: string, why?: string): void => {
    if (exchanges.get(key) !== exchange) return;
    exchanges.delete(key);
    if (exchanges.size === 0) {
      clearInterval(sweeper);
      sweeper = undefined;
    }
    exchange.controller.abort();
    exchange.end?.close();
    exchange.entry.ended(outcome, why);
  };

  const sweep = (): void => {
    const now = clock.monotonicMs();
    for (const [key, exchange] of exchanges) {
      if (now - exchange.lastMs >= limits.exchangeTimeoutMs) end(key, exchange, 'idle');
    }
  };

  const begin = (key: string, { parties, open, answer }: ExchangeSpec): Exchange | undefined => {
    const entry = ledger.begin(parties);
    if (entry === undefined) return undefined;
    const controller = new AbortController();
    const outward = parties.direction === 'out';
    const exchange: Exchange = {
      entry,
      controller,
      pending: [],
      end: undefined,
      forward(far, datagram) {
        far.send(datagram);
        (outward ? entry.sent : entry.received)(datagram.length);
      },
      lastMs: clock.monotonicMs(),
    };
    exchanges.set(key, exchange);
    sweeper ??= setInterval(sweep, Math.max(1, limits.exchangeTimeoutMs / SWEEPS_PER_TIMEOUT));
    const listener: FarListener = {
      datagram(payload) {
        if (controller.signal.aborted) return;
        if (budget.take(Math.max(payload.length, limits.minReadCost)) > 0) return entry.dropped();
        exchange.lastMs = clock.monotonicMs();
        (outward ? entry.received : entry.sent)(payload.length);
        answer(payload);
      },
      failed: (outcome, why) => end(key, exchange, outcome, why),
    };
    open(listener, controller.signal).then(
      (far) => {
        if (far === undefined) return;
        if (controller.signal.aborted) return far.end.close();
        exchange.end = far.end;
        entry.opened(far.address);
        for (const datagram of exchange.pending.splice(0)) exchange.forward(far.end, datagram);
      },
      (error: NodeJS.ErrnoException) => end(key, exchange, error.code ?? 'UNKNOWN'),
    );
    return exchange;
  };

  return {
    pass(key, datagram, spec) {
      const exchange = exchanges.get(key) ?? begin(key, spec());
      if (exchange === undefined) return;
      const { entry, pending, end: far } = exchange;
      if (budget.take(Math.max(datagram.length, limits.minReadCost)) > 0) return entry.dropped();
      exchange.lastMs = clock.monotonicMs();
      if (far !== undefined) exchange.forward(far, datagram);
      else if (pending.length < limits.maxPendingDatagrams) pending.push(datagram);
      else entry.dropped();
    },
    close() {
      for (const [key, exchange] of [...exchanges]) end(key, exchange, 'closed');
    },
  };
}

/** Opens the far half of an exchange with one address: a connected socket, which hears from nobody else. */
export function connectDatagrams(
  address: Address,
  port: number,
  listener: FarListener,
  signal: AbortSignal,
): Promise<FarEnd> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.family === 4 ? 'udp4' : 'udp6');
    const close = closerOf(socket);
    let isOpen = false;
    socket.on('message', (payload) => listener.datagram(payload));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      close();
      if (isOpen) listener.failed(error.code ?? 'UNKNOWN', undefined);
      else reject(error);
    });
    socket.once('connect', () => {
      isOpen = true;
      // what cannot be sent, being too long for example, is lost like any datagram
      resolve({ send: (datagram) => socket.send(datagram, () => undefined), close });
    });
    if (signal.aborted) {
      close();
      reject(signal.reason);
    } else socket.connect(port, address.text);
  });
}

/** Closes a datagram socket once; the platform throws the second time. */
export function closerOf(socket: DatagramSocket): () => void {
  let isClosed = false;
  socket.once('close', () => {
    isClosed = true;
  });
  return () => {
    if (isClosed) return;
    isClosed = true;
    socket.close();
  };
}
