import type { Metric } from '../../gen/ts/modhost/v1/metrics.js';
import { HostError } from '../contract/error.js';
import { pageSize } from './check.js';
import type { Series } from './metrics-book.js';

/** Series of a page for which no size is asked, and the most that a page has. */
const SERIES_PER_PAGE = 200;
const MAX_SERIES_PER_PAGE = 1_000;
/** Content from which a page takes no more series, bytes: with long labels a thousand would not fit a message. */
const PAGE_BYTES = 1024 * 1024;
/** Longest key of a series, bytes: a name, and 16 labels of 64 and 256 bytes with what stands between. */
const MAX_KEY_BYTES = 128 + 16 * (64 + 256 + 2);
const TOKEN = /^after:(?:([a-z0-9][a-z0-9-]{0,63}):)?([A-Za-z0-9_-]+)$/;

/** A place in the order of modules and series. */
interface Place {
  /** Empty in the pages of one module. */
  readonly module: string;
  readonly key: string;
}

/** Series of one module on a page. */
export interface PagePart {
  readonly module: string;
  readonly metrics: Metric[];
}

/** One page of series. */
export interface SeriesPage {
  readonly parts: PagePart[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/**
 * One page of series. The token holds a place in the order, the last series of the page before, so that series and
 * modules that come and go between two pages move no other.
 *
 * @param modules names, ascending; a single empty one for the pages of one module
 * @param wish size that is asked; 0 = 200
 * @throws HostError OUT_OF_RANGE (the size), INVALID_REQUEST (the token)
 */
export function seriesPage(
  modules: readonly string[],
  seriesOf: (module: string) => readonly Series[],
  wish: number,
  token: string,
): SeriesPage {
  const size = pageSize(wish, SERIES_PER_PAGE, MAX_SERIES_PER_PAGE);
  const after = readToken(token, modules.length === 1 && modules[0] === '');
  const parts: PagePart[] = [];
  let last: Place | undefined;
  let count = 0;
  let bytes = 0;
  for (const module of modules) {
    if (after !== undefined && module < after.module) continue;
    const metrics: Metric[] = [];
    for (const { key, metric } of seriesOf(module)) {
      if (after !== undefined && module === after.module && key <= after.key) continue;
      const weight = weigh(key, metric);
      if (count === size || (count > 0 && bytes + weight > PAGE_BYTES)) {
        if (metrics.length > 0) parts.push({ module, metrics });
        return { parts, nextPageToken: last === undefined ? '' : writeToken(last) };
      }
      metrics.push(metric);
      last = { module, key };
      count += 1;
      bytes += weight;
    }
    if (metrics.length > 0) parts.push({ module, metrics });
  }
  return { parts, nextPageToken: '' };
}

/** Bytes on the wire, roughly and not less: three for a UTF-16 unit, and what stands around. */
function weigh(key: string, { value, help, labels }: Metric): number {
  const buckets = value?.$case === 'histogram' ? value.value.buckets.length : 0;
  return 64 + 3 * (key.length + help.length) + 6 * labels.length + 32 * buckets;
}

function writeToken({ module, key }: Place): string {
  return `after:${module === '' ? '' : `${module}:`}${Buffer.from(key).toString('base64url')}`;
}

function readToken(token: string, ofOne: boolean): Place | undefined {
  if (token === '') return undefined;
  const [, module = '', coded = ''] = TOKEN.exec(token.length > 2 * MAX_KEY_BYTES ? '' : token) ?? [];
  const key = Buffer.from(coded, 'base64url').toString();
  const place = { module, key };
  // what reads otherwise than it was written is nobody's token
  if (key === '' || (module === '') !== ofOne || writeToken(place) !== token) {
    throw new HostError('INVALID_REQUEST', 'page_token is not one of this rpc; begin without one');
  }
  return place;
}
