/** One transaction of a template. */
export interface TemplateTransaction {
  raw: Uint8Array;
  txid: Uint8Array;
  wtxid: Uint8Array;
  feeSats: bigint;
  /** Signature operation cost (BIP 141). */
  sigops: number;
  weight: number;
  /** Indexes (from 0) of template transactions that must come before. */
  depends: number[];
}

/** What a miner may build on (BIP 22, BIP 23, BIP 145). */
export interface BlockTemplate {
  previousHash: Uint8Array;
  height: number;
  version: number;
  /** Bits of `version` that a miner may choose. */
  versionBitsMask: number;
  bits: number;
  /** Target, 32 bytes big-endian. */
  target: Uint8Array;
  currentTimeUnixS: number;
  minTimeUnixS: number;
  /** Subsidy plus fees. */
  coinbaseValueSats: bigint;
  /** scriptPubKey of the witness commitment output (BIP 141); empty when the block needs none. */
  witnessCommitmentScript: Uint8Array;
  transactions: TemplateTransaction[];
  sigopLimit: number;
  sizeLimit: number;
  weightLimit: number;
}

/** A new tip, told before its template is made. */
export interface NewTip {
  previousHash: Uint8Array;
  bits: number;
  height: number;
  minTimeUnixS: number;
  /** Subsidy alone: the fees of the template are not known yet. */
  coinbaseValueSats: bigint;
}
