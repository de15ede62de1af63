/**
 * Bounds of one module's network; what is over one is refused, never kept waiting in memory. Those of connections and
 * exchanges count for each direction by itself.
 */
export interface NetworkLimits {
  /** Connections open or being opened at once; each holds up to two descriptors of the host. */
  readonly maxConnections: number;
  /** UDP exchanges at once, one client's socket with one target; each holds one descriptor. */
  readonly maxExchanges: number;
  /** New connections and exchanges per second, and how many may come at once: each costs the host's loop about 1 ms. */
  readonly newPerSecond: number;
  readonly newBurst: number;
  /** Bytes per second through the host, both directions together, and how many may pass at once. */
  readonly bytesPerSecond: number;
  readonly bytesBurst: number;
  /** What one read costs of that budget at least, bytes: a stream of tiny segments is work as well. */
  readonly minReadCost: number;
  /** From the module's connection to the target's answer, name included, milliseconds. */
  readonly connectTimeoutMs: number;
  /** The same through a proxy: Tor builds a circuit first, and gives up after 120 s itself. */
  readonly proxyTimeoutMs: number;
  /** Until the names' server has answered, milliseconds. */
  readonly dnsTimeoutMs: number;
  /** Names of one module being resolved at once, and how many wait for that. */
  readonly maxResolving: number;
  readonly maxAwaitingNames: number;
  /** Silence in both directions after which a connection is ended, milliseconds. Lightning peers ping every minute. */
  readonly idleTimeoutMs: number;
  /** The same once one side has said its last word. */
  readonly halfClosedTimeoutMs: number;
  /** Silence after which a UDP exchange is forgotten, milliseconds: RFC 4787 asks for two minutes at least. */
  readonly exchangeTimeoutMs: number;
  /** Datagrams of one exchange that wait while its target is resolved. */
  readonly maxPendingDatagrams: number;
  /** For the whole SOCKS handshake up to the request, milliseconds: it is local. */
  readonly handshakeTimeoutMs: number;
  /** Log lines about refusals and failures per second, and at once; the rest are counted in the next line. */
  readonly logPerSecond: number;
  readonly logBurst: number;
}

/** What every module gets. */
export const NETWORK_LIMITS: NetworkLimits = {
  maxConnections: 256,
  maxExchanges: 128,
  newPerSecond: 20,
  newBurst: 100,
  bytesPerSecond: 32 * 1024 * 1024,
  bytesBurst: 4 * 1024 * 1024,
  minReadCost: 4 * 1024,
  connectTimeoutMs: 15_000,
  proxyTimeoutMs: 120_000,
  dnsTimeoutMs: 5_000,
  maxResolving: 16,
  maxAwaitingNames: 64,
  idleTimeoutMs: 60 * 60_000,
  halfClosedTimeoutMs: 5 * 60_000,
  exchangeTimeoutMs: 120_000,
  maxPendingDatagrams: 16,
  handshakeTimeoutMs: 10_000,
  logPerSecond: 1,
  logBurst: 10,
};
