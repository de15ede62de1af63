import type { PeerShown } from '../network/inbound.js';

/** One listener to be opened in a module's network namespace. */
export interface NetListener {
  /** The caller's own word for it; the handle comes back under it. */
  readonly key: string;
  readonly transport: 'tcp' | 'udp';
  /** IPv4 or IPv6 literal. */
  readonly address: string;
  readonly port: number;
}

/** What the host tells the program that it has put into a module's network namespace. */
export type ToNamespace =
  | {
      readonly kind: 'open';
      /** The namespace as `/proc/PID/ns/net` names it; in any other one nothing is opened. */
      readonly namespace: string;
      readonly listeners: readonly NetListener[];
      /** True when connections from outside will follow. */
      readonly stay: boolean;
    }
  /** Comes with the handle of a connection that the host has accepted. */
  | { readonly kind: 'inbound'; readonly id: number; readonly port: number }
  | { readonly kind: 'drop'; readonly id: number }
  /** Wants a datagram socket with this address and port, which comes back under the key. */
  | { readonly kind: 'bind'; readonly listener: NetListener };

/** What that program tells the host. */
export type FromNamespace =
  /** Comes with the handle of the listener. */
  | { readonly kind: 'listener'; readonly key: string }
  | { readonly kind: 'opened' }
  | { readonly kind: 'failed'; readonly key: string; readonly code: string }
  /** The connection is here: the host lets go of its own handle of it. */
  | { readonly kind: 'taken'; readonly id: number }
  | { readonly kind: 'connected'; readonly id: number; readonly shown: PeerShown }
  /** Bytes since the last such message: `sent` by the module, `received` by it. */
  | { readonly kind: 'moved'; readonly id: number; readonly sent: number; readonly received: number }
  /** `code` is empty when both sides have ended in order. */
  | { readonly kind: 'closed'; readonly id: number; readonly code: string };
