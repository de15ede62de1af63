import { BlockOutcome, type MiningServiceService } from '../../gen/ts/modhost/v1/mining.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import { blockTransactionCount, MAX_BLOCK_BYTES } from '../core/bitcoin/block.js';
import { printable } from '../core/printable.js';
import type { NodeApi, SubmitBlockVerdict } from '../node/node-api.js';
import { atMost, requireBytes, requireFeature } from './check.js';
import { fromModule } from './decoded.js';
import { requireMining, type TemplateWatch } from './mining-watch.js';
import { fitTemplate } from './template-size.js';

/** Rules that a miner may name: more soft forks than were ever under way at once. */
const MAX_RULES = 16;
/** Names of soft forks as nodes write them; `!` stands before those a miner must know (BIP 9). */
const RULE_NAME = /^[\w!-]{1,64}$/;
/** Templates without it hold no transaction with witness; every module is taken to know it. */
const SEGWIT = 'segwit';

const OUTCOMES: Readonly<Record<SubmitBlockVerdict['outcome'], BlockOutcome>> = {
  accepted: BlockOutcome.ACCEPTED,
  rejected: BlockOutcome.REJECTED,
  duplicate: BlockOutcome.DUPLICATE,
  inconclusive: BlockOutcome.INCONCLUSIVE,
};

/** What the mining service of one module needs. */
export interface MiningDeps {
  /** The port, budgeted for the module. */
  node: NodeApi;
  /** The host's one fan-out of work. */
  templates: TemplateWatch;
  /** Hears of every block that the node accepted. */
  onAccepted?: ((raw: Uint8Array) => void) | undefined;
}

/** Answers for templates and found blocks. */
export function createMiningService({
  node,
  templates,
  onAccepted,
}: MiningDeps): ServiceImpl<typeof MiningServiceService> {
  return {
    async getBlockTemplate({ rules }, { signal }) {
      const wanted = readRules(rules);
      return { template: fitTemplate(await requireMining(node).getTemplate(wanted, signal)) };
    },
    async *watchBlockTemplate({ rules }, { signal }) {
      const wanted = readRules(rules);
      for await (const work of templates.watch(requireMining(node), wanted, signal)) {
        if (work.type === 'tip') yield { update: { $case: 'newTip', value: work.tip } };
        else yield { update: { $case: 'template', value: work.template } };
      }
    },
    async submitBlock({ raw }, { signal }) {
      requireBlock(raw);
      const verdict = await requireFeature(node.mining, 'submit-block').submitBlock(raw, signal);
      if (verdict.outcome === 'accepted') onAccepted?.(raw);
      const rejectReason = verdict.outcome === 'rejected' ? printable(verdict.reason) : '';
      return { outcome: OUTCOMES[verdict.outcome], rejectReason };
    },
    async queueReceivedBlock({ raw }, { signal }) {
      requireBlock(raw);
      const mining = node.mining;
      await requireFeature(mining?.queueBlock?.bind(mining), 'queue-block')(raw, signal);
      return {};
    },
  };
}

function readRules(rules: readonly string[]): string[] {
  atMost(rules, MAX_RULES, 'rules');
  for (const rule of rules) {
    if (!RULE_NAME.test(rule)) throw new HostError('INVALID_REQUEST', 'rules holds what is no name of a soft fork');
  }
  return [...new Set([SEGWIT, ...rules])];
}

/** Header, count and size alone are looked at: a found block must not wait while the host decodes it. */
function requireBlock(raw: Uint8Array): void {
  requireBytes(raw, MAX_BLOCK_BYTES, 'raw');
  if (fromModule('raw', () => blockTransactionCount(raw)) === 0) {
    throw new HostError('INVALID_REQUEST', 'raw holds no transaction; every block has a coinbase');
  }
}
