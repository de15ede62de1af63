import type { Socket as DatagramSocket } from 'node:dgram';
import type { Server, Socket } from 'node:net';
import type { NetworkUse } from '../../gen/ts/modhost/admin/v1/status.js';

/** Somebody outside who came to a granted port. */
export interface Peer {
  /** IP literal; IPv4 in its own form even where it came over an IPv6 socket. */
  readonly address: string;
  readonly port: number;
}

/** Work in the module's namespace for what comes from outside. */
export interface Inside {
  /**
   * Carries one accepted connection, nothing read from it yet, to the module's own server on `port`; the module sees the
   * peer's address. Tells the bytes that have moved since the last call. Aborting breaks the connection.
   *
   * @returns empty after an orderly end, else the code of what broke it
   */
  carry(
    outer: Socket,
    arrival: { readonly port: number; readonly peer: Peer },
    moved: (sent: number, received: number) => void,
    signal: AbortSignal,
  ): Promise<string>;
  /** A datagram socket inside, bound to the peer's own address and port. */
  bindAs(peer: Peer): Promise<DatagramSocket>;
}

/** The host's end of one module's network: everything that the module sends passes here, or stays in its namespace. */
export interface Gateway {
  /** Serves one listener of the plan, which was opened in the module's namespace. Call it in the tick that the handle comes. */
  attach(id: string, listener: Server | DatagramSocket): void;
  /**
   * Opens the granted ports on this machine.
   *
   * @throws HostError NETWORK_UNAVAILABLE when a port is taken or needs privileges; nothing is open then
   */
  openInbound(inside: Inside): Promise<void>;
  /** What is granted, and what was done with it. */
  use(): NetworkUse;
  /** Ends every connection and closes every listener; later calls do nothing. */
  close(): Promise<void>;
}
