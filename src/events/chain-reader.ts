/** A block as a walk sees it. */
export interface WalkBlock {
  /** 32 bytes, internal byte order. */
  hash: Uint8Array;
  height: number;
  /** 80 bytes. */
  header: Uint8Array;
  /** Transactions; 0 = not known. */
  txCount: number;
  /** Serialised size in bytes; 0 = the host did not read the body. */
  sizeBytes: number;
  /** Weight units; 0 = the host did not read the body. */
  weight: number;
}

/** How far the node's synchronisation is. */
export interface WalkSync {
  initialBlockDownload: boolean;
  /** Height of the best known header; 0 = not known. */
  headers: number;
  /** 0 to 1, as the node estimates it. */
  progress: number;
}

/**
 * What a walk asks of the node: reads of the chain, nothing else. Calls reject with HostError and stop when the signal
 * fires; no answer is kept beyond what the implementation says.
 */
export interface ChainReader {
  /** Hash at a height of the active chain, or undefined above the tip. */
  hashAt(height: number, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** Any block that the node knows, on the active chain or off it; undefined when it knows none of that hash. */
  block(hash: Uint8Array, signal: AbortSignal): Promise<WalkBlock | undefined>;
  /** Blocks of the active chain from a height upwards, in order, at most `count`; fewer only at the tip, none above it. */
  blocks(fromHeight: number, count: number, signal: AbortSignal): Promise<readonly WalkBlock[]>;
  /** The tip, for messages to people. */
  tip(signal: AbortSignal): Promise<{ hash: Uint8Array; height: number }>;
  sync(signal: AbortSignal): Promise<WalkSync>;
  /** Lowest height whose body the node keeps; 0 when it does not prune. */
  pruneHeight(signal: AbortSignal): Promise<number>;
}
