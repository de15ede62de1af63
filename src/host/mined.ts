import { blockHash } from '../core/bitcoin/header.js';
import type { Logger } from '../core/logger.js';
import type { NodeApi } from '../node/node-api.js';
import type { createNodeEventPublisher } from './node-events.js';

/** Tells that a module's block was accepted, once the node has said where it stands. */
export type TellMined = (raw: Uint8Array, moduleId: string) => void;

/** Makes the teller. The height comes from the node: a block's own word for it is not believed. */
export function createTellMined(
  node: Pick<NodeApi, 'chain'>,
  nodeEvents: Pick<ReturnType<typeof createNodeEventPublisher>, 'blockMined'>,
  log: Logger,
  signal: AbortSignal,
): TellMined {
  return (raw, moduleId) => {
    const hash = blockHash(raw.subarray(0, 80));
    node.chain.getHeader(hash, signal).then(
      ({ height }) => nodeEvents.blockMined({ hash, height }, moduleId),
      (err: unknown) =>
        log.warn({ module: moduleId, err }, 'a block was accepted, but the node does not tell its height'),
    );
  };
}
