import { parseHeader } from '../../core/bitcoin/header.js';
import type { NetworkName } from '../node-api.js';

/** Blocks between two changes of the target. */
const RETARGET_BLOCKS = 2_016;

/**
 * Target, in compact form, of the block at `height` whose parent has this header; undefined where the rule needs more
 * than the parent (a retarget, the test networks' minimum-difficulty blocks).
 */
export function bitsAfter(parentHeader: Uint8Array, height: number, network: NetworkName): number | undefined {
  const { bits } = parseHeader(parentHeader);
  if (network === 'regtest') return bits;
  const steady = network === 'main' || network === 'signet';
  return steady && height % RETARGET_BLOCKS !== 0 ? bits : undefined;
}
