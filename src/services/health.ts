import type { HealthReport, HealthServiceService, ModuleHealth } from '../../gen/ts/modhost/v1/health.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import { nearest } from '../core/nearest.js';
import { pageSize } from './check.js';
import { requireReport } from './health-report.js';

/** Entries of a page for which no size is asked, and the most that a page has. */
const PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1_000;
/** A page's token is the last name on it, behind this mark; names have at most 64 characters. */
const TOKEN = /^after:([a-z0-9][a-z0-9-]{0,63})$/;

/** What the host knows of its modules' health, and where a module's own word goes. */
export interface HealthBook {
  /** Takes the report that the session's module made of itself. */
  report(report: HealthReport): void;
  /** The health of one module as it is now; undefined when the host does not know it. */
  health(module: string): ModuleHealth | undefined;
  /** Every module that the host knows, in any order. */
  modules(): Iterable<string>;
}

/** Answers HealthService for one spawn. */
export function createHealthService(book: HealthBook): ServiceImpl<typeof HealthServiceService> {
  return {
    async reportHealth({ report }) {
      book.report(requireReport(report));
      return {};
    },
    async getModuleHealth({ module }) {
      if (module === '') throw new HostError('FIELD_REQUIRED', 'module is required: a name');
      const health = book.health(module);
      if (health !== undefined) return { health };
      const near = nearest(module, book.modules());
      throw new HostError(
        'MODULE_NOT_FOUND',
        `the host knows no such module${near === undefined ? '' : `; did you mean ${near}?`}`,
      );
    },
    async getAllModuleHealth({ pageSize: wish, pageToken }) {
      const size = pageSize(wish, PAGE_SIZE, MAX_PAGE_SIZE);
      const after = readToken(pageToken);
      const names = [...book.modules()].sort().filter((name) => after === undefined || name > after);
      const page = names.slice(0, size);
      const last = names.length > page.length ? page.at(-1) : undefined;
      return {
        modules: page.flatMap((name) => book.health(name) ?? []),
        nextPageToken: last === undefined ? '' : `after:${last}`,
      };
    },
  };
}

function readToken(token: string): string | undefined {
  if (token === '') return undefined;
  const name = TOKEN.exec(token)?.[1];
  if (name === undefined)
    throw new HostError('INVALID_REQUEST', 'page_token is not one of this rpc; begin without one');
  return name;
}
