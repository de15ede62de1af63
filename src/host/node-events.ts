import { MempoolRemovalReason } from '../../gen/ts/modhost/event/v1/mempool.js';
import { PeerDisconnectReason, TransportType } from '../../gen/ts/modhost/event/v1/network.js';
import type { EventPayload } from '../contract/event-type.js';
import { previousHashOf } from '../core/bitcoin/header.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { BlockFacts } from '../events/block-facts.js';
import { type EventHub, SOURCE_HOST, SOURCE_NODE } from '../events/hub.js';
import type { BlockPosition, NodeApi, NodeEvent, NodeListener, Peer, RemovalReason } from '../node/node-api.js';
import { createDifficultyWatch } from './difficulty-watch.js';
import { createSyncWatch } from './sync-watch.js';

/** Turns what the node tells into events of the catalogue. */
export interface NodeEventPublisher {
  /** The listener for `NodeApi.start`: returns at once and never throws. */
  readonly listener: NodeListener;
  /** A block that a module submitted was accepted by the node. */
  blockMined(block: BlockPosition, moduleId: string): void;
}

/** What the publisher is made of. */
export interface NodeEventOptions {
  hub: EventHub;
  node: Pick<NodeApi, 'getInfo' | 'chain'>;
  clock: Clock;
  /** Filled with every block that is connected, for walks. */
  facts: BlockFacts;
  log: Logger;
}

/**
 * Makes the publisher of one node. Nothing is invented: what the node does not tell is empty or UNKNOWN in the payload,
 * and what it cannot tell has no event.
 */
export function createNodeEventPublisher({ hub, node, clock, facts, log }: NodeEventOptions): NodeEventPublisher {
  const publish = (payload: EventPayload): void => void hub.publish(payload, { source: SOURCE_NODE });
  const difficulty = createDifficultyWatch(facts, node, publish);
  const sync = createSyncWatch(node, clock, publish);

  const tell = (event: NodeEvent): void => {
    switch (event.type) {
      case 'BlockConnected': {
        facts.remember(event);
        publish(newBlock(event));
        difficulty.connected(event);
        return;
      }
      case 'BlockDisconnected':
        publish({
          $case: 'blockDisconnected',
          value: { blockHash: event.hash, height: event.height, header: event.header },
        });
        difficulty.disconnected(previousHashOf(event.header));
        return;
      case 'NewTip':
        difficulty.announced(event.bits, event.height);
        return;
      case 'SyncChanged':
        sync.changed(event.now);
        return;
      case 'SyncProgress':
        sync.progressed(event.now, event.blocksPerSecond);
        return;
      case 'NodeConnection':
        sync.connection(event.up);
        return;
      default:
        for (const payload of direct(event)) publish(payload);
    }
  };
  return {
    listener(event) {
      try {
        tell(event);
      } catch (err) {
        // a node that tells nonsense must not end the adapter's loop
        log.error({ event: event.type, err }, 'what the node told cannot be published');
      }
    },
    blockMined(block, moduleId) {
      hub.publish(
        { $case: 'blockMined', value: { blockHash: block.hash, height: block.height, minerId: moduleId } },
        { source: SOURCE_HOST },
      );
    },
  };
}

type Watched = 'BlockConnected' | 'BlockDisconnected' | 'NewTip' | 'SyncChanged' | 'SyncProgress' | 'NodeConnection';

/** Events that need no memory of what came before. */
function direct(event: Exclude<NodeEvent, { type: Watched }>): EventPayload[] {
  switch (event.type) {
    case 'ChainReorg':
      return [chainReorg(event)];
    case 'TransactionAdded':
      return [
        { $case: 'newTransaction', value: { txid: event.txid } },
        {
          $case: 'mempoolTransactionAdded',
          value: {
            txid: event.txid,
            feeRateSatPerKvb: feeRate(event.feeSats, event.vsize),
            mempoolTxCount: event.mempoolCount,
          },
        },
      ];
    case 'TransactionRemoved':
      return [
        {
          $case: 'mempoolTransactionRemoved',
          value: { txid: event.txid, reason: REMOVAL[event.reason], mempoolTxCount: event.mempoolCount },
        },
      ];
    case 'MempoolCleared':
      return [{ $case: 'mempoolCleared', value: { clearedCount: event.count } }];
    case 'FeeRateChanged':
      return [
        {
          $case: 'feeRateChanged',
          value: {
            oldFeeRateSatPerKvb: event.oldSatPerKvb,
            newFeeRateSatPerKvb: event.newSatPerKvb,
            targetBlocks: event.targetBlocks ?? 0,
            mempoolTxCount: event.mempoolCount,
          },
        },
      ];
    case 'TemplateUpdated':
      return [
        {
          $case: 'blockTemplateUpdated',
          value: {
            prevHash: event.template.previousHash,
            height: event.template.height,
            txCount: event.template.transactions.length,
          },
        },
      ];
    case 'PeerConnected':
      return [{ $case: 'peerConnected', value: peerConnected(event.peer) }];
    case 'PeerDisconnected':
      return [
        {
          $case: 'peerDisconnected',
          value: { peerAddr: event.peer.address, reason: PeerDisconnectReason.UNKNOWN },
        },
      ];
    case 'PeerBanned':
      return [
        {
          $case: 'peerBanned',
          value: {
            peerAddr: event.address,
            reason: '',
            banDurationMs: BigInt(Math.max(0, Math.trunc(event.durationMs))),
            permanent: false,
          },
        },
      ];
    case 'PeerUnbanned':
      return [{ $case: 'peerUnbanned', value: { peerAddr: event.address } }];
    case 'SoftFork': {
      const value = { forkName: event.name, height: event.height };
      return [event.state === 'active' ? { $case: 'softForkActivated', value } : { $case: 'softForkLockedIn', value }];
    }
  }
}

const REMOVAL: Readonly<Record<RemovalReason, MempoolRemovalReason>> = {
  confirmed: MempoolRemovalReason.CONFIRMED,
  expired: MempoolRemovalReason.EXPIRED,
  replaced: MempoolRemovalReason.REPLACED,
  conflict: MempoolRemovalReason.CONFLICT,
  rejected: MempoolRemovalReason.REJECTED,
  unknown: MempoolRemovalReason.UNKNOWN,
};

function newBlock(event: Extract<NodeEvent, { type: 'BlockConnected' }>): EventPayload {
  return {
    $case: 'newBlock',
    value: {
      blockHash: event.hash,
      height: event.height,
      header: event.header,
      txCount: event.txCount,
      size: event.sizeBytes,
      weight: event.weight,
      headersOnly: false,
    },
  };
}

function chainReorg({ oldTip, newTip, fork }: Extract<NodeEvent, { type: 'ChainReorg' }>): EventPayload {
  return {
    $case: 'chainReorg',
    value: {
      oldTip: oldTip.hash,
      newTip: newTip.hash,
      oldHeight: oldTip.height,
      newHeight: newTip.height,
      forkHeight: fork.height,
      forkHash: fork.hash,
      disconnected: oldTip.height - fork.height,
      connected: newTip.height - fork.height,
    },
  };
}

/** Rounded down, as nodes do; undefined when fee or size is not known. */
function feeRate(feeSats: bigint | undefined, vsize: number | undefined): bigint | undefined {
  return feeSats === undefined || vsize === undefined || vsize <= 0 ? undefined : (feeSats * 1_000n) / BigInt(vsize);
}

function peerConnected(peer: Peer) {
  return {
    peerAddr: peer.address,
    // onion, i2p and cjdns are reached by TCP through a proxy or tunnel
    transportType: peer.transport === '' ? TransportType.UNKNOWN : TransportType.TCP,
    services: peer.services,
    version: peer.protocolVersion,
    peerNodeId: new Uint8Array(0),
  };
}
