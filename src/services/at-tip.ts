import { HostError, throwIfAborted } from '../contract/error.js';
import { equalBytes, hashToDisplay } from '../core/bytes.js';
import type { NodeApi } from '../node/node-api.js';
import { optionalHash } from './check.js';

/** How often a read is made before the host says that the tip moves too fast for it. */
const ATTEMPTS = 2;

/**
 * Answer of a read that belongs to one tip: the tip is compared before and after the read, which is made once more
 * when it moved in between. An empty `tip` lets every answer pass.
 *
 * A read that fails while the tip moves says nothing about the caller's request, so it is made again as well.
 *
 * @throws HostError INVALID_REQUEST when `tip` is not 32 bytes, TIP_MOVED, or what the read throws
 */
export async function atTip<T>(
  node: NodeApi,
  tip: Uint8Array,
  signal: AbortSignal,
  read: () => Promise<T>,
): Promise<T> {
  const wanted = optionalHash(tip, 'at_tip');
  if (wanted === undefined) return read();
  const holds = async (): Promise<boolean> => equalBytes((await node.chain.getState(signal)).tip.hash, wanted);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (!(await holds())) continue;
    let failure: unknown;
    let answer: T | undefined;
    try {
      answer = await read();
    } catch (error) {
      throwIfAborted(signal);
      failure = error;
    }
    if (!(await holds())) continue;
    if (failure !== undefined) throw failure;
    return answer as T;
  }
  throw new HostError('TIP_MOVED', `the tip is not ${hashToDisplay(wanted)}; read the tip and call again`);
}
