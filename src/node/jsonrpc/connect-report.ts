import type { NetworkName } from '../node-api.js';

/** A line that the operator puts into a file. */
export interface ConnectLine {
  /** The line as it stands in the file. */
  line: string;
  /** What it is good for, one clause. */
  why: string;
  /** False: the host works without it. */
  required: boolean;
}

/** What was found of a node, and what it lacks for the host. Holds a password: print it once, log it never. */
export interface ConnectReport {
  kind: 'bitcoind' | 'btcd';
  network: NetworkName;
  /** Directory of the node's data or configuration, where one was found. */
  dataDir: string | undefined;
  /** Its configuration file, whether or not it exists yet. */
  configFile: string | undefined;
  url: string;
  /** True when the node answered a call. */
  reachable: boolean;
  /** What the node says it is; empty when it did not answer. */
  version: string;
  /** One sentence: how the node answered, or why not. */
  detail: string;
  /** Lines that its configuration file lacks; then it must be restarted. */
  nodeLines: ConnectLine[];
  /** The `[node]` table of the host's own file, line by line. */
  hostLines: string[];
}

/** A TOML basic string. */
export function tomlString(text: string): string {
  return JSON.stringify(text);
}
