import { HostError } from '../contract/error.js';
import { pageSize } from './check.js';

/** Most names that a page has. */
export const MAX_NAMES_PER_PAGE = 1_000;
/** Names of a page for which no size is asked. */
const NAMES_PER_PAGE = 100;
/** A page's token is the last name on it, behind this mark; names have at most 64 characters. */
const TOKEN = /^after:([a-z0-9][a-z0-9-]{0,63})$/;

/** One page of names. */
export interface NamePage {
  /** By ascending name. */
  readonly names: readonly string[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/**
 * One page of modules' names. The token holds a place in the order and nothing of the page before, so that modules that
 * come and go between two pages move no other.
 *
 * @param wish size that is asked; 0 = 100
 * @throws HostError OUT_OF_RANGE (the size), INVALID_REQUEST (the token)
 */
export function namePage(all: Iterable<string>, wish: number, token: string): NamePage {
  const size = pageSize(wish, NAMES_PER_PAGE, MAX_NAMES_PER_PAGE);
  const after = readToken(token);
  const rest = [...all].sort().filter((name) => after === undefined || name > after);
  const names = rest.slice(0, size);
  const last = rest.length > names.length ? names.at(-1) : undefined;
  return { names, nextPageToken: last === undefined ? '' : `after:${last}` };
}

function readToken(token: string): string | undefined {
  if (token === '') return undefined;
  const name = TOKEN.exec(token)?.[1];
  if (name === undefined) {
    throw new HostError('INVALID_REQUEST', 'page_token is not one of this rpc; begin without one');
  }
  return name;
}
