import type { BlockTemplate, NewTip } from './block-template.js';
import type { GovernanceApi, LightningApi, PaymentApi } from './provider-api.js';

/**
 * The port to the Bitcoin node. Everything the host knows of a chain comes through it; nothing in it can change
 * consensus, the UTXO set or keys, because it has no such call.
 *
 * Conventions: hashes are 32 bytes in internal byte order; heights count from genesis = 0; amounts are satoshis;
 * fee rates are satoshis per 1,000 virtual bytes; every call takes an AbortSignal and stops its work when it fires.
 * Calls reject only with HostError. A capability that the node lacks is an absent group or a NODE_LACKS_FEATURE.
 * The port never learns which module asks.
 */

/** Networks by Bitcoin Core's names (`getblockchaininfo.chain`), plus `unknown`. */
export type NetworkName = 'main' | 'test' | 'testnet4' | 'signet' | 'regtest' | 'unknown';

/** What stands behind the port. */
export interface NodeInfo {
  /** `devchain`, `bitcoind`, `btcd`, or an embedder's own word. */
  kind: string;
  /** Version as the node tells it, for example `/Satoshi:29.0.0/`; empty when unknown. */
  version: string;
  network: NetworkName;
  /** True when the chain is a simulation of the host's own. */
  simulated: boolean;
  pruned: boolean;
  /** Lowest height whose body is kept; 0 when not pruned. */
  pruneHeight: number;
  /** True while the node is in its initial block download. */
  initialBlockDownload: boolean;
  /** Names of enabled indexes, for example `txindex`. */
  indexes: string[];
  /** What the adapter serves beyond the core: names of `NodeFeature`. */
  features: NodeFeature[];
}

/** Abilities that differ from node to node. */
export type NodeFeature =
  | 'utxo'
  | 'mempool'
  | 'submit-transaction'
  | 'submit-package'
  | 'test-transaction'
  | 'fee-estimate'
  | 'network'
  | 'ban-peer'
  | 'serve-denylist'
  | 'maintenance-mode'
  | 'send-mesh'
  | 'send-stratum'
  | 'mining-template'
  | 'submit-block'
  | 'queue-block'
  | 'lightning'
  | 'payment'
  | 'governance';

/** Where a block stands. */
export interface BlockPosition {
  hash: Uint8Array;
  height: number;
}

/** The tip and what belongs to it. */
export interface ChainState {
  tip: BlockPosition;
  /** The 80-byte header of the tip. */
  header: Uint8Array;
  /** Median of the last 11 block times, Unix seconds (BIP 113). */
  medianTimeUnixS: number;
  /** Expected hashes in the chain, 32 bytes big-endian. */
  chainWork: Uint8Array;
  difficulty: number;
}

/** Progress of synchronisation. */
export interface SyncState {
  phase: 'headers' | 'blocks' | 'synced' | 'stalled';
  /** Share of verification done, 0 to 1, as the node estimates it. */
  progress: number;
  /** Height of the best connected block. */
  blocks: number;
  /** Height of the best known header. */
  headers: number;
  initialBlockDownload: boolean;
}

/** A block header with its place. */
export interface HeaderAt extends BlockPosition {
  /** 80 bytes. */
  header: Uint8Array;
  /** Confirmations: 1 for the tip, 0 for a block off the active chain. */
  confirmations: number;
  /** Transactions in the block; 0 when the node does not tell. */
  txCount: number;
}

/** A block's bytes with its place. */
export interface BlockAt extends BlockPosition {
  /** Serialised as relayed, witness included (BIP 144); at most 4,000,000 bytes. */
  raw: Uint8Array;
}

/** A transaction's bytes and where it was found. */
export interface TransactionAt {
  /** Serialised with witness (BIP 144). */
  raw: Uint8Array;
  /** Block that holds it, or undefined when it is in the mempool. */
  block?: BlockPosition | undefined;
}

/** Reads of the chain. */
export interface ChainApi {
  /** @throws NODE_UNAVAILABLE, NODE_SYNCING */
  getState(signal: AbortSignal): Promise<ChainState>;
  getSync(signal: AbortSignal): Promise<SyncState>;
  /** Hash at a height of the active chain. @throws NO_CHAIN_HEIGHT */
  getHash(height: number, signal: AbortSignal): Promise<Uint8Array>;
  /** Active chain or known stale branch. @throws BLOCK_NOT_FOUND, BLOCK_PRUNED */
  getBlock(hash: Uint8Array, signal: AbortSignal): Promise<BlockAt>;
  /** @throws BLOCK_NOT_FOUND */
  getHeader(hash: Uint8Array, signal: AbortSignal): Promise<HeaderAt>;
  /**
   * Headers of the active chain from a height upwards, at most `count`, fewer at the tip, in order.
   * @throws NO_CHAIN_HEIGHT when `fromHeight` is above the tip
   */
  getHeaders(fromHeight: number, count: number, signal: AbortSignal): Promise<HeaderAt[]>;
  /**
   * A transaction of mempool or chain. `blockHash` spares the index.
   * @throws TRANSACTION_NOT_FOUND, TXINDEX_REQUIRED, BLOCK_PRUNED
   */
  getTransaction(txid: Uint8Array, blockHash: Uint8Array | undefined, signal: AbortSignal): Promise<TransactionAt>;
}

/** One output reference. */
export interface Outpoint {
  txid: Uint8Array;
  index: number;
}

/** One unspent output. */
export interface Utxo {
  outpoint: Outpoint;
  valueSats: bigint;
  scriptPubkey: Uint8Array;
  /** Height of the block that made it; undefined while unconfirmed. */
  height?: number | undefined;
  coinbase: boolean;
}

/** Reads of the set of unspent outputs. */
export interface UtxoApi {
  /** The output, or undefined when spent or unknown. With `includeMempool` unconfirmed spends and outputs count. */
  getUtxo(outpoint: Outpoint, includeMempool: boolean, signal: AbortSignal): Promise<Utxo | undefined>;
}

/** A mempool transaction without its bytes. */
export interface MempoolEntry {
  txid: Uint8Array;
  /** Undefined when the node does not tell. */
  wtxid?: Uint8Array | undefined;
  vsize: number;
  feeSats: bigint;
  /** Unix seconds of entry. */
  timeUnixS: number;
  ancestorCount: number;
  descendantCount: number;
}

/** Size of the mempool. */
export interface MempoolSize {
  transactionCount: number;
  /** Sum of virtual sizes. */
  vbytes: bigint;
  /** Memory that the node reports; 0 when it does not. */
  memoryBytes: bigint;
  /** Undefined when the node does not tell. */
  totalFeeSats?: bigint | undefined;
  /** Rate below which nothing enters. */
  minFeeRateSatPerKvb: bigint;
}

/** A fee estimate; the node answers for the target it really used. */
export interface FeeEstimate {
  /** Undefined: the node has no estimate (always on regtest). */
  feeRateSatPerKvb?: bigint | undefined;
  targetBlocks: number;
}

/** Bounds of a submission. */
export interface SubmitOptions {
  /** Refuse when the transaction pays more; 0 = no bound. */
  maxFeeRateSatPerKvb: bigint;
  /** Refuse when unspendable outputs carry more. */
  maxBurnSats: bigint;
}

/** What the mempool said of one transaction. */
export interface MempoolVerdict {
  txid: Uint8Array;
  wtxid: Uint8Array;
  accepted: boolean;
  /** The node's reject reason, for example `bad-txns-inputs-missingorspent`; empty when accepted. */
  rejectReason: string;
  /** True when it was in the mempool already; counts as accepted. */
  alreadyKnown: boolean;
  vsize: number;
  feeSats: bigint;
}

/** Reads of and submissions to the mempool. */
export interface MempoolApi {
  /** All txids, sorted by bytes, so that pages are stable. */
  listTxids(signal: AbortSignal): Promise<Uint8Array[]>;
  /** The entry, or undefined. */
  getEntry(txid: Uint8Array, signal: AbortSignal): Promise<MempoolEntry | undefined>;
  /** Bytes of a mempool transaction, or undefined. */
  getRaw(txid: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined>;
  getSize(signal: AbortSignal): Promise<MempoolSize>;
  /** @throws NODE_LACKS_FEATURE */
  estimateFee(targetBlocks: number, signal: AbortSignal): Promise<FeeEstimate>;
  /** Submits; "already in mempool" is accepted. @throws FEE_TOO_HIGH, BURN_TOO_HIGH, TRANSACTION_REJECTED, INVALID_REQUEST */
  submit(raw: Uint8Array, options: SubmitOptions, signal: AbortSignal): Promise<MempoolVerdict>;
  /** Submits a package, parents first (BIP 331 rules of the node). @throws NODE_LACKS_FEATURE */
  submitPackage(raws: readonly Uint8Array[], options: SubmitOptions, signal: AbortSignal): Promise<MempoolVerdict[]>;
  /** Tells what submit would say, changing nothing. @throws NODE_LACKS_FEATURE */
  test(raws: readonly Uint8Array[], options: SubmitOptions, signal: AbortSignal): Promise<MempoolVerdict[]>;
}

/** Figures of the node's network. */
export interface NetworkStats {
  peerCount: number;
  inboundCount: number;
  outboundCount: number;
  bytesSent: bigint;
  bytesReceived: bigint;
  /** Estimated hashes per second of the network; 0 when unknown. */
  hashRate: number;
  /** False when the operator has switched networking off. */
  networkActive: boolean;
}

/** One peer. */
export interface Peer {
  /** Number of the connection within the node. */
  id: number;
  /** `host:port`. */
  address: string;
  inbound: boolean;
  /** `ipv4`, `ipv6`, `onion`, `i2p`, `cjdns`, or empty. */
  transport: string;
  services: bigint;
  protocolVersion: number;
  userAgent: string;
  connectedSinceUnixS: number;
  bytesSent: bigint;
  bytesReceived: bigint;
  /** Microseconds; 0 when unknown. */
  pingUs: number;
}

/** Reads of and acts on the network. */
export interface NetworkApi {
  getStats(signal: AbortSignal): Promise<NetworkStats>;
  getPeers(signal: AbortSignal): Promise<Peer[]>;
  /** Bans and disconnects; `durationMs` 0 = as long as the node can. @throws NODE_LACKS_FEATURE */
  banPeer(address: string, durationMs: number, signal: AbortSignal): Promise<void>;
  /** Refuses block requests of peers while on. Absent: NODE_LACKS_FEATURE. */
  setBlockServeMaintenance?(enabled: boolean, signal: AbortSignal): Promise<void>;
  /** Sets the whole denylist of blocks or transactions that peers are not served. Absent: NODE_LACKS_FEATURE. */
  setServeDenylist?(kind: 'block' | 'transaction', hashes: readonly Uint8Array[], signal: AbortSignal): Promise<void>;
  /** Absent: NODE_LACKS_FEATURE. */
  sendMeshPacket?(peer: string, packet: Uint8Array, signal: AbortSignal): Promise<void>;
  /** Absent: NODE_LACKS_FEATURE. */
  sendStratumMessage?(peer: string, message: Uint8Array, signal: AbortSignal): Promise<void>;
}

/** What the node said of a block. */
export type SubmitBlockVerdict =
  | { outcome: 'accepted' }
  | { outcome: 'duplicate' }
  /** Valid as far as checked, but not (yet) on the best chain. */
  | { outcome: 'inconclusive' }
  | { outcome: 'rejected'; reason: string };

/** Templates and blocks. */
export interface MiningApi {
  /** @throws NODE_SYNCING, NODE_LACKS_FEATURE */
  getTemplate(rules: readonly string[], signal: AbortSignal): Promise<BlockTemplate>;
  submitBlock(raw: Uint8Array, signal: AbortSignal): Promise<SubmitBlockVerdict>;
  /** Hands in a block received elsewhere. Absent: NODE_LACKS_FEATURE. */
  queueBlock?(raw: Uint8Array, signal: AbortSignal): Promise<void>;
}

/** Why a transaction left the mempool; `unknown` when the node does not tell. */
export type RemovalReason = 'confirmed' | 'expired' | 'replaced' | 'conflict' | 'rejected' | 'unknown';

/**
 * What a node tells by itself. Connects and disconnects are complete and in order from `start` on, also across a lost
 * connection or a restart of the node: each BlockConnected follows its parent, each BlockDisconnected names the tip.
 */
export type NodeEvent =
  | ({ type: 'BlockConnected'; header: Uint8Array; txCount: number; sizeBytes: number; weight: number } & BlockPosition)
  | ({ type: 'BlockDisconnected'; header: Uint8Array } & BlockPosition)
  /** After the disconnects and connects of one reorganisation. */
  | { type: 'ChainReorg'; oldTip: BlockPosition; newTip: BlockPosition; fork: BlockPosition }
  /** feeSats and vsize are undefined when the node does not tell them cheaply. */
  | {
      type: 'TransactionAdded';
      txid: Uint8Array;
      feeSats?: bigint | undefined;
      vsize?: number | undefined;
      mempoolCount: number;
    }
  | { type: 'TransactionRemoved'; txid: Uint8Array; reason: RemovalReason; mempoolCount: number }
  | { type: 'MempoolCleared'; count: number }
  /** The node's minimum or estimated rate moved; `targetBlocks` is what both estimates are for, absent for the minimum. */
  | {
      type: 'FeeRateChanged';
      oldSatPerKvb: bigint;
      newSatPerKvb: bigint;
      targetBlocks?: number | undefined;
      mempoolCount: number;
    }
  | ({ type: 'NewTip' } & NewTip)
  /** Only while somebody watches templates, see `watchTemplates`. */
  | { type: 'TemplateUpdated'; template: BlockTemplate }
  | { type: 'SyncChanged'; old: SyncState['phase']; now: SyncState }
  | { type: 'SyncProgress'; now: SyncState; blocksPerSecond: number }
  | { type: 'PeerConnected'; peer: Peer }
  | { type: 'PeerDisconnected'; peer: Peer }
  | { type: 'PeerBanned'; address: string; durationMs: number }
  | { type: 'PeerUnbanned'; address: string }
  | { type: 'SoftFork'; name: string; state: 'locked-in' | 'active'; height: number }
  /** Connection to the node itself. */
  | { type: 'NodeConnection'; up: boolean; detail: string };

/** Receives what the node tells; must return at once and never throw. */
export type NodeListener = (event: NodeEvent) => void;

/** What a node said to a call that was handed on as it came: the bytes of `result`, or of `error` and its code. */
export type RawAnswer = { readonly result: Uint8Array } | { readonly error: Uint8Array; readonly code: number };

/** JSON-RPC of the node for the operator's own programs, byte for byte. No module ever gets at it. */
export interface RawRpcApi {
  /**
   * Hands one call on; it is sent once. Whoever calls has decided that the method may be called.
   *
   * @param paramsJson JSON text of an array or object, empty when there are none
   * @throws NODE_UNAVAILABLE, NODE_BUSY, NODE_AUTH, NODE_ERROR (the answer is no JSON-RPC)
   */
  call(method: string, paramsJson: string, signal: AbortSignal): Promise<RawAnswer>;
}

/** The port. Optional groups are absent when the node has no such ability at all. */
export interface NodeApi {
  /**
   * Connects, settles where the chain stands and begins to tell events. After NODE_UNAVAILABLE, NODE_SYNCING or NODE_BUSY the
   * host calls it again: the node may start later than the host.
   *
   * @throws NODE_UNAVAILABLE, NODE_AUTH, BAD_CONFIG
   */
  start(listener: NodeListener, signal: AbortSignal): Promise<void>;
  /** Ends every connection, timer and file; idempotent. */
  stop(): Promise<void>;
  getInfo(signal: AbortSignal): Promise<NodeInfo>;
  /** Calls in flight to the node at most; undefined when the node is in-process and needs no budget. */
  readonly maxCallsInFlight?: number | undefined;
  /** Asks for TemplateUpdated events while at least one watcher is there; the answer ends this watcher. */
  watchTemplates?(rules: readonly string[]): () => void;
  readonly chain: ChainApi;
  readonly utxo?: UtxoApi | undefined;
  readonly mempool?: MempoolApi | undefined;
  readonly network?: NetworkApi | undefined;
  readonly mining?: MiningApi | undefined;
  readonly lightning?: LightningApi | undefined;
  readonly payment?: PaymentApi | undefined;
  readonly governance?: GovernanceApi | undefined;
  readonly rawRpc?: RawRpcApi | undefined;
}
