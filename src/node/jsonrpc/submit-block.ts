import type { SubmitBlockVerdict } from '../node-api.js';

/**
 * The verdict of `submitblock` (BIP 22): null is acceptance, else a word. `duplicate-inconclusive` and `inconclusive`
 * mean valid so far, not on the best chain; `duplicate-invalid` was refused before.
 */
export function submitVerdict(said: string | null): SubmitBlockVerdict {
  if (said === null || said === '') return { outcome: 'accepted' };
  if (said === 'duplicate' || /already have block/i.test(said)) return { outcome: 'duplicate' };
  if (said === 'inconclusive' || said === 'duplicate-inconclusive') return { outcome: 'inconclusive' };
  return { outcome: 'rejected', reason: said.replace(/^rejected: /, '') };
}
