import {
  type HealthCheck,
  HealthCheckType,
  MaintenanceOperation,
  MaintenanceReason,
  MaintenanceType,
  MaintenanceUrgency,
} from '../../gen/ts/modhost/event/v1/maintenance.js';
import type { EventPayload } from '../contract/event-type.js';
import { type EventHub, SOURCE_HOST } from '../events/hub.js';
import type { DiskSpace } from './disk-space.js';

/** Why the host asks modules to look after their data. */
export type UpkeepCause = 'PERIODIC' | 'SHUTDOWN' | 'LOW_DISK';
/** Names of long jobs. */
export type MaintenanceTypeName = Exclude<keyof typeof MaintenanceType, 'UNRECOGNIZED' | 'UNSPECIFIED'>;
/** Names of the causes of a health check. */
export type HealthCheckTypeName = Exclude<keyof typeof HealthCheckType, 'UNRECOGNIZED' | 'UNSPECIFIED'>;

/** Tells what concerns everybody's data, disk and node, one call for each event. */
export interface MaintenanceEvents {
  /**
   * Asks every module to look after the data that it keeps itself.
   *
   * @param timeoutMs time until the host goes on; 0 = it does not wait
   */
  dataMaintenance(cause: UpkeepCause, timeoutMs: number): void;
  maintenanceStarted(job: MaintenanceTypeName): void;
  /** @param results what came of it, in words for people; no path or secret of the host */
  maintenanceCompleted(job: MaintenanceTypeName, success: boolean, durationMs: number, results: string): void;
  healthCheck(type: HealthCheckTypeName, finding: Pick<HealthCheck, 'nodeHealthy' | 'healthReport'>): void;
  diskSpaceLow(space: DiskSpace): void;
}

/** What each cause asks for, and how soon. */
const ASKED: Readonly<Record<UpkeepCause, readonly [MaintenanceOperation, MaintenanceUrgency]>> = {
  PERIODIC: [MaintenanceOperation.BOTH, MaintenanceUrgency.LOW],
  SHUTDOWN: [MaintenanceOperation.FLUSH, MaintenanceUrgency.HIGH],
  LOW_DISK: [MaintenanceOperation.CLEANUP, MaintenanceUrgency.HIGH],
};

/** Makes the publisher of these events. */
export function createMaintenanceEvents(hub: Pick<EventHub, 'publish'>): MaintenanceEvents {
  const publish = (payload: EventPayload): void => void hub.publish(payload, { source: SOURCE_HOST });
  const millis = (ms: number): bigint => BigInt(Math.max(0, Math.round(ms)));
  return {
    dataMaintenance(cause, timeoutMs) {
      const [operation, urgency] = ASKED[cause];
      publish({
        $case: 'dataMaintenance',
        value: {
          operation,
          urgency,
          reason: MaintenanceReason[cause],
          targetAgeDays: 0,
          timeoutMs: millis(timeoutMs),
        },
      });
    },
    maintenanceStarted(job) {
      publish({
        $case: 'maintenanceStarted',
        value: { maintenanceType: MaintenanceType[job], estimatedDurationMs: 0n },
      });
    },
    maintenanceCompleted(job, success, durationMs, results) {
      publish({
        $case: 'maintenanceCompleted',
        value: { maintenanceType: MaintenanceType[job], success, durationMs: millis(durationMs), results },
      });
    },
    healthCheck(type, finding) {
      publish({ $case: 'healthCheck', value: { checkType: HealthCheckType[type], ...finding } });
    },
    diskSpaceLow({ availableBytes, totalBytes, holds }) {
      publish({
        $case: 'diskSpaceLow',
        value: {
          availableBytes: BigInt(availableBytes),
          totalBytes: BigInt(totalBytes),
          percentFree: totalBytes === 0 ? 0 : (100 * availableBytes) / totalBytes,
          diskPath: holds,
        },
      });
    },
  };
}
