import type { HealthReport, HealthServiceService, ModuleHealth } from '../../gen/ts/modhost/v1/health.js';
import { HostError } from '../contract/error.js';
import { moduleNotFound } from '../contract/module-not-found.js';
import type { ServiceImpl } from '../contract/service.js';
import { requireReport } from './health-report.js';
import { namePage } from './name-page.js';

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
      throw moduleNotFound(module, book.modules());
    },
    async getAllModuleHealth({ pageSize, pageToken }) {
      const { names, nextPageToken } = namePage(book.modules(), pageSize, pageToken);
      return { modules: names.flatMap((name) => book.health(name) ?? []), nextPageToken };
    },
  };
}
