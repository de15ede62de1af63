import { type HealthReport, HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import { HostError } from '../contract/error.js';
import { cutBytes } from '../core/printable.js';
import { atMost, requireKnown, requireMessage } from './check.js';

/** Checks of one report. */
export const MAX_CHECKS = 32;
/** Longest name of a check, bytes. */
const MAX_CHECK_NAME_BYTES = 64;
/** Longest message of a report or a check, bytes; what is beyond is cut. */
const MAX_MESSAGE_BYTES = 1_024;

const STATUSES = [HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY] as const;

/** A report that a module made by itself, texts cut. @throws FIELD_REQUIRED, UNKNOWN_ENUM, OUT_OF_RANGE */
export function requireReport(given: HealthReport | undefined): HealthReport {
  const { status, message, checks } = requireMessage(given, 'report');
  atMost(checks, MAX_CHECKS, 'checks');
  return {
    status: requireStatus(status, 'report.status'),
    message: cutBytes(message, MAX_MESSAGE_BYTES),
    checks: checks.map((check) => {
      if (check.name === '') throw new HostError('FIELD_REQUIRED', 'checks.name is required');
      if (Buffer.byteLength(check.name) > MAX_CHECK_NAME_BYTES) {
        throw new HostError('OUT_OF_RANGE', `checks.name is over ${MAX_CHECK_NAME_BYTES} bytes`);
      }
      return {
        name: check.name,
        status: requireStatus(check.status, 'checks.status'),
        message: cutBytes(check.message, MAX_MESSAGE_BYTES),
      };
    }),
  };
}

/** The answer to a health check within the bounds of a report: an answer is a sign of life, so nothing of it is refused. */
export function boundReport({ status, message, checks }: HealthReport): HealthReport {
  return {
    status: knownStatus(status),
    message: cutBytes(message, MAX_MESSAGE_BYTES),
    checks: checks.slice(0, MAX_CHECKS).map((check) => ({
      name: cutBytes(check.name, MAX_CHECK_NAME_BYTES),
      status: knownStatus(check.status),
      message: cutBytes(check.message, MAX_MESSAGE_BYTES),
    })),
  };
}

function requireStatus(status: HealthStatus, field: string): HealthStatus {
  if (status === HealthStatus.UNSPECIFIED) throw new HostError('FIELD_REQUIRED', `${field} is required`);
  return requireKnown(status, STATUSES, field);
}

function knownStatus(status: HealthStatus): HealthStatus {
  return STATUSES.find((known) => known === status) ?? HealthStatus.UNSPECIFIED;
}
