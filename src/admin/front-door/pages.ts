import { HostError } from '../../contract/error.js';
import type { ContractWords } from '../../contract/plain.js';
import type { Clock } from '../../core/clock.js';
import type { HostControl } from '../host-control.js';
import { PAGE_CACHE_MS } from './limits.js';

/** One page. */
export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** What pages are made of. */
export interface PageParts {
  readonly control: HostControl;
  readonly words: ContractWords;
  readonly clock: Clock;
  /** What Prometheus reads. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  isStopping(): boolean;
}

/** Longest time for one page, milliseconds: the node may be asked for it. */
const PAGE_TIMEOUT_MS = 5_000;

/** Makes the pages that need no password, by path. Each is made at most once per PAGE_CACHE_MS, whoever asks. */
export function createPages(parts: PageParts): ReadonlyMap<string, () => Promise<Page>> {
  const { control, words, clock } = parts;
  const json = (status: number, value: object): Page => ({
    status,
    type: 'application/json',
    body: `${JSON.stringify(value)}\n`,
  });
  const readiness = async (): Promise<Page> => {
    const reasons: string[] = [];
    if (parts.isStopping()) reasons.push('HOST_STOPPING');
    else {
      const { node } = await control.status(AbortSignal.timeout(PAGE_TIMEOUT_MS));
      // the reason's word alone: texts may name places of this machine
      const why = node?.lastError?.reason;
      if (node?.reachable !== true) {
        reasons.push(why === undefined ? 'NODE_UNAVAILABLE' : words.enumName('modhost.v1.ErrorReason', why));
      }
    }
    return reasons.length === 0 ? json(200, { ready: true }) : json(503, { ready: false, reasons });
  };
  const metrics = async (): Promise<Page> => {
    const { contentType, text } = await parts.metrics();
    return { status: 200, type: contentType, body: text };
  };
  return new Map([
    ['/healthz', async () => json(200, { alive: true })],
    ['/readyz', shared(clock, readiness)],
    ['/metrics', shared(clock, metrics)],
  ]);
}

/** A page that many may ask for at once and that is made for all of them together. */
function shared(clock: Clock, make: () => Promise<Page>): () => Promise<Page> {
  let page: Promise<Page> | undefined;
  let madeMs = 0;
  return async () => {
    const now = clock.monotonicMs();
    if (page === undefined || now - madeMs >= PAGE_CACHE_MS) {
      madeMs = now;
      page = make().catch((thrown: unknown) => ({
        status: 503,
        type: 'application/json',
        body: `${JSON.stringify({ reasons: [HostError.from(thrown).reason] })}\n`,
      }));
    }
    return page;
  };
}
