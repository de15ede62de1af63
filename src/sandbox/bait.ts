/** Listeners of the host that nothing inside of a sandbox may reach; what reaches them is remembered. */
export interface Bait {
  /** Port of a TCP listener on 127.0.0.1. */
  readonly tcpPort: number;
  /** Port of a UDP socket on 127.0.0.1. */
  readonly udpPort: number;
  /** Name of a listener in the abstract name space, without the leading NUL. */
  readonly abstractName: string;
  /** What was reached, in words that complete "it could …"; empty = nothing. */
  reached(): string[];
  close(): Promise<void>;
}

/** Lays out bait, with a listener at each of these paths too; handed in, because this room opens no sockets. */
export type LayBait = (socketPaths: readonly string[]) => Promise<Bait>;
