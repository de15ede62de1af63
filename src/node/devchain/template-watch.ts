import type { BlockTemplate } from '../block-template.js';
import type { NodeEvent } from '../node-api.js';

/** Wait between a change of the mempool and the template that shows it, milliseconds; changes in between share it. */
const MEMPOOL_QUIET_MS = 1_000;

/** Tells templates while somebody watches: at once after a new tip, a little later after new transactions. */
export interface TemplateWatch {
  /** Adds a watcher; the answer ends it, however often it is called. */
  add(rules: readonly string[]): () => void;
  tipChanged(): void;
  mempoolChanged(): void;
  close(): void;
}

/** Makes a watch without watchers. @param parts.make gives undefined when there is none to tell; never rejects */
export function createTemplateWatch(parts: {
  make(rules: readonly string[]): Promise<BlockTemplate | undefined>;
  tell(event: NodeEvent): void;
}): TemplateWatch {
  const watchers = new Set<readonly string[]>();
  let timer: NodeJS.Timeout | undefined;

  return {
    add(rules) {
      const watcher = [...rules];
      watchers.add(watcher);
      return () => {
        watchers.delete(watcher);
        if (watchers.size === 0) cancel();
      };
    },
    tipChanged() {
      cancel();
      if (watchers.size > 0) void refresh();
    },
    mempoolChanged() {
      if (watchers.size === 0 || timer !== undefined) return;
      timer = setTimeout(() => {
        timer = undefined;
        void refresh();
      }, MEMPOOL_QUIET_MS);
      timer.unref();
    },
    close() {
      cancel();
      watchers.clear();
    },
  };

  async function refresh(): Promise<void> {
    const template = await parts.make([...new Set([...watchers].flat())]);
    if (template !== undefined && watchers.size > 0) parts.tell({ type: 'TemplateUpdated', template });
  }

  function cancel(): void {
    clearTimeout(timer);
    timer = undefined;
  }
}
