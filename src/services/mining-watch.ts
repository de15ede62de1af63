import { HostError, throwIfAborted } from '../contract/error.js';
import { equalBytes } from '../core/bytes.js';
import { delay } from '../core/delay.js';
import type { BlockTemplate, NewTip } from '../node/block-template.js';
import type { MiningApi, NodeApi, NodeEvent } from '../node/node-api.js';
import { requireFeature } from './check.js';
import { type FittedTemplate, fitTemplate } from './template-size.js';

/** Wait before a node that pushes no templates is asked again, when its template is not of the tip that it told. */
const ASK_AGAIN_MS = 250;

/** One piece of work for a miner. */
export type WorkUpdate = { type: 'tip'; tip: NewTip } | { type: 'template'; template: FittedTemplate };

/** Spreads new tips and templates to those who watch. */
export interface TemplateWatch {
  /** Takes what the node tells; returns at once and never throws. Events of other types are ignored. */
  offer(event: NodeEvent): void;
  /**
   * Work as it comes, beginning with the template of the present tip. Never waits for a watcher: one that reads slowly
   * gets the newest tip and the newest template, not those that were replaced meanwhile.
   *
   * @param mining where the first template is asked for: the port's group, budgeted for the module
   * @throws NODE_LACKS_FEATURE, NODE_SYNCING and what else the node says to the first request
   */
  watch(mining: MiningApi, rules: readonly string[], signal: AbortSignal): AsyncGenerator<WorkUpdate, void, undefined>;
  /** Watchers at this moment. */
  readonly size: number;
}

/** What one watcher has not read yet: at most one tip and one template of that tip. */
interface Slot {
  tip?: NewTip | undefined;
  template?: FittedTemplate | undefined;
  wake?: (() => void) | undefined;
}

/** @param node the unbudgeted port, for `watchTemplates` */
export function createTemplateWatch(node: NodeApi): TemplateWatch {
  const slots = new Set<Slot>();
  let newest: NewTip | undefined;

  const put = (slot: Slot, change: Pick<Slot, 'tip' | 'template'>): void => {
    Object.assign(slot, change);
    slot.wake?.();
  };
  /** A template is worth giving only when it builds on the newest tip that was told. */
  const isCurrent = (template: BlockTemplate): boolean =>
    newest === undefined || equalBytes(template.previousHash, newest.previousHash);

  return {
    get size() {
      return slots.size;
    },
    offer(event) {
      // Without watchers there is no order to keep, and a node may stop telling tips while nobody watches.
      if (slots.size === 0) return;
      if (event.type === 'NewTip') {
        const { type: _, ...tip } = event;
        if (newest !== undefined && equalBytes(newest.previousHash, tip.previousHash)) return;
        newest = tip;
        // A template not read yet is stale from here on.
        for (const slot of slots) put(slot, { tip, template: undefined });
      } else if (event.type === 'TemplateUpdated' && isCurrent(event.template)) {
        const template = fitTemplate(event.template);
        for (const slot of slots) put(slot, { template });
      }
    },
    async *watch(mining, rules, signal) {
      const slot: Slot = {};
      const pushed = node.watchTemplates !== undefined;
      let unwatch: (() => void) | undefined;
      slots.add(slot);
      try {
        unwatch = node.watchTemplates?.(rules);
        let ask = true;
        for (;;) {
          throwIfAborted(signal);
          if (ask) {
            const template = fitTemplate(await mining.getTemplate(rules, signal));
            throwIfAborted(signal);
            // What was pushed meanwhile is newer.
            if (slot.template === undefined && isCurrent(template)) slot.template = template;
            // A node that pushes is about to push the right one; another one is asked until it has caught up.
            ask = !pushed && slot.template === undefined && slot.tip === undefined;
            if (ask) {
              await delay(ASK_AGAIN_MS, signal);
              continue;
            }
          }
          const { tip, template } = slot;
          slot.tip = undefined;
          if (tip !== undefined) {
            yield { type: 'tip', tip };
            ask = !pushed && slot.template === undefined;
            continue;
          }
          slot.template = undefined;
          if (template !== undefined) yield { type: 'template', template };
          else await woken(slot, signal);
        }
      } finally {
        slots.delete(slot);
        if (slots.size === 0) newest = undefined;
        unwatch?.();
      }
    },
  };
}

/** The part of the port that gives templates. @throws NODE_LACKS_FEATURE */
export function requireMining(node: NodeApi): MiningApi {
  return requireFeature(node.mining, 'mining-template');
}

/** Resolves when the slot is filled; rejects when the signal fires, which it must not have done yet. */
function woken(slot: Slot, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      slot.wake = undefined;
      signal.removeEventListener('abort', onAbort);
    };
    const onAbort = (): void => {
      settle();
      reject(HostError.from(signal.reason));
    };
    slot.wake = () => {
      settle();
      resolve();
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
