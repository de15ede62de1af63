import { equalBytes } from '../../core/bytes.js';
import type { BlockTemplate } from '../block-template.js';
import type { NodeEvent } from '../node-api.js';

/** Keeps who watches templates, and tells new ones. */
export interface TemplateWatch {
  /** Registers a watcher; the answer ends it. */
  watch(rules: readonly string[]): () => void;
  /** Fetches and tells a template when somebody watches and it is another one than the last told. */
  refresh(signal: AbortSignal): Promise<void>;
  watched(): boolean;
}

/** Makes a watch; `started` is called when the first watcher comes. */
export function createTemplateWatch(
  getTemplate: (rules: readonly string[], signal: AbortSignal) => Promise<BlockTemplate>,
  emit: (event: NodeEvent) => void,
  started: () => void,
): TemplateWatch {
  const watchers = new Set<{ rules: readonly string[] }>();
  let last: BlockTemplate | undefined;
  return {
    watch(rules) {
      const watcher = { rules };
      watchers.add(watcher);
      // Also for a second watcher: it has not seen the template that the first was told.
      last = undefined;
      started();
      return () => void watchers.delete(watcher);
    },
    async refresh(signal) {
      if (watchers.size === 0) {
        last = undefined;
        return;
      }
      const rules = [...new Set([...watchers].flatMap((watcher) => watcher.rules))];
      const template = await getTemplate(rules, signal);
      if (watchers.size === 0 || (last !== undefined && isSameWork(last, template))) return;
      last = template;
      emit({ type: 'TemplateUpdated', template });
    },
    watched: () => watchers.size > 0,
  };
}

/** True when a miner gains nothing by the newer one: only its clock differs. */
function isSameWork(a: BlockTemplate, b: BlockTemplate): boolean {
  return (
    equalBytes(a.previousHash, b.previousHash) &&
    a.bits === b.bits &&
    a.coinbaseValueSats === b.coinbaseValueSats &&
    a.transactions.length === b.transactions.length &&
    equalBytes(a.witnessCommitmentScript, b.witnessCommitmentScript)
  );
}
