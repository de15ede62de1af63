import type { NodeStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import type { HealthCheck } from '../../gen/ts/modhost/event/v1/maintenance.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { enumName } from '../contract/enum-name.js';

/** Blocks that a healthy node may be behind its best header: the one that it downloads just now, and its successor. */
const MAX_BEHIND = 2;

/** What a health check found. */
export type Finding = Pick<HealthCheck, 'nodeHealthy' | 'healthReport'>;

/**
 * Judges a node by what it has just told of itself: reachable, past its initial download, and at the tip. The report says
 * reasons by their words alone: messages may name places of this machine.
 */
export function judgeNode(node: NodeStatus): Finding {
  const { tipHeight, headerHeight } = node;
  if (!node.reachable) {
    const why = node.lastError === undefined ? '' : `: ${enumName(ErrorReason, node.lastError.reason) ?? 'unknown'}`;
    return { nodeHealthy: false, healthReport: `the node does not answer${why}` };
  }
  if (node.initialBlockDownload) {
    const percent = Math.floor(node.syncProgress * 1_000) / 10;
    return { nodeHealthy: false, healthReport: `in its initial download, ${percent} % verified` };
  }
  const behind = headerHeight - tipHeight;
  return behind > MAX_BEHIND
    ? { nodeHealthy: false, healthReport: `${behind} blocks behind its best header` }
    : { nodeHealthy: true, healthReport: `at height ${tipHeight}` };
}
