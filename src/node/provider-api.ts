/** Parts of the port that no Bitcoin node serves, but an embedder, or a module that the operator names, may. */

/** Lightning node behind the host, where an embedder has one. */
export interface LightningApi {
  /** Address as `pubkey@host:port`, or undefined. */
  getNodeUrl(signal: AbortSignal): Promise<string | undefined>;
  getInfo(signal: AbortSignal): Promise<LightningInfo>;
}

/** Figures of a Lightning node. */
export interface LightningInfo {
  nodeUrl: string;
  /** 33 bytes, compressed. */
  nodePubkey: Uint8Array;
  channelCount: number;
  totalCapacitySats: bigint;
}

/** State of one payment. */
export interface PaymentState {
  paymentId: string;
  status: 'pending' | 'confirmed' | 'reorg-pending' | 'failed';
  amountSats: bigint;
  txid?: Uint8Array | undefined;
  confirmations: number;
}

/** Payments of the node, where an embedder has them. */
export interface PaymentApi {
  /** @throws NOT_FOUND */
  getState(paymentId: string, signal: AbortSignal): Promise<PaymentState>;
}

/** One proposal. */
export interface Proposal {
  proposalId: string;
  title: string;
  repository: string;
  prNumber: bigint;
  tier: string;
  status: 'open' | 'merged' | 'rejected';
  approvals: number;
  rejections: number;
  abstentions: number;
  createdUnixMs: bigint;
}

/** A vote's direction. */
export type Vote = 'approve' | 'reject' | 'abstain';

/** Governance of the node's project, where an embedder has it. */
export interface GovernanceApi {
  listProposals(signal: AbortSignal): Promise<Proposal[]>;
  /** @throws NOT_FOUND */
  getProposal(proposalId: string, signal: AbortSignal): Promise<Proposal>;
  castVote(proposalId: string, vote: Vote, comment: string, signal: AbortSignal): Promise<void>;
}
