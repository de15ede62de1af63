import { nearest } from '../core/nearest.js';
import { HostError } from './error.js';

/** MODULE_NOT_FOUND for a name that the host does not know, with the known one that is near. */
export function moduleNotFound(name: string, known: Iterable<string>): HostError {
  const near = nearest(name, known);
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  return new HostError('MODULE_NOT_FOUND', `the host knows no such module${hint}`);
}
