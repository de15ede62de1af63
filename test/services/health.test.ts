import { describe, expect, it } from 'vitest';
import { type HealthReport, HealthStatus, type ModuleHealth } from '../../gen/ts/modhost/v1/health.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { HostError } from '../../src/contract/error.js';
import { createHealthService } from '../../src/services/health.js';
import { boundReport, MAX_CHECKS } from '../../src/services/health-report.js';

const reports: HealthReport[] = [];
const names = Array.from({ length: 250 }, (_, index) => `m-${String(index).padStart(3, '0')}`);
const healthOf = (module: string): ModuleHealth => ({
  module,
  state: ModuleState.RUNNING,
  responsive: true,
  missedProbes: 0,
  report: undefined,
  reportedUnixMs: 0n,
  reason: 'ready',
});
const present = new Set(names);
const service = createHealthService({
  report: (report) => reports.push(report),
  health: (module) => (present.has(module) ? healthOf(module) : undefined),
  modules: () => [...present].reverse(),
});
const context = { method: '', signal: new AbortController().signal, timeLeftMs: () => 1_000 };
const reason = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => HostError.from(error).reason,
  );
const report = (over: Partial<HealthReport>): HealthReport => ({
  status: HealthStatus.HEALTHY,
  message: '',
  checks: [],
  ...over,
});
const check = (over: object) => ({ name: 'peers', status: HealthStatus.HEALTHY, message: '', ...over });

describe('HealthService', () => {
  it('takes a report with its texts cut, and refuses what is not one', async () => {
    const long = 'é'.repeat(2_000);
    await service.reportHealth(
      { report: report({ message: long, checks: [check({ name: 'n'.repeat(64), message: long })] }) },
      context,
    );
    expect(reports).toHaveLength(1);
    expect(Buffer.byteLength(reports[0]?.message ?? '')).toBe(1_024);
    expect(Buffer.byteLength(reports[0]?.checks[0]?.message ?? '')).toBe(1_024);
    const refused: [HealthReport | undefined, string][] = [
      [undefined, 'FIELD_REQUIRED'],
      [report({ status: HealthStatus.UNSPECIFIED }), 'FIELD_REQUIRED'],
      [report({ status: 9 as HealthStatus }), 'UNKNOWN_ENUM'],
      [report({ checks: Array.from({ length: MAX_CHECKS + 1 }, () => check({})) }), 'OUT_OF_RANGE'],
      [report({ checks: [check({ name: '' })] }), 'FIELD_REQUIRED'],
      [report({ checks: [check({ name: 'n'.repeat(65) })] }), 'OUT_OF_RANGE'],
      [report({ checks: [check({ status: 9 })] }), 'UNKNOWN_ENUM'],
      [report({ checks: [check({ status: 0 })] }), 'FIELD_REQUIRED'],
    ];
    for (const [given, expected] of refused) {
      expect(await reason(service.reportHealth({ report: given }, context) as Promise<unknown>)).toBe(expected);
    }
    expect(reports).toHaveLength(1);
  });

  it('bounds the answer to a health check without refusing it', () => {
    const checks = Array.from({ length: 40 }, () => check({ name: 'n'.repeat(100), status: 77 }));
    const bound = boundReport(report({ status: 77 as HealthStatus, checks }));
    expect(bound.status).toBe(HealthStatus.UNSPECIFIED);
    expect(bound.checks).toHaveLength(MAX_CHECKS);
    expect(bound.checks[0]).toEqual({ name: 'n'.repeat(64), status: HealthStatus.UNSPECIFIED, message: '' });
  });

  it('gives one module’s health, with the nearest name for a mistyped one', async () => {
    expect(await service.getModuleHealth({ module: 'm-007' }, context)).toMatchObject({ health: { module: 'm-007' } });
    expect(await reason(service.getModuleHealth({ module: '' }, context) as Promise<unknown>)).toBe('FIELD_REQUIRED');
    await expect(service.getModuleHealth({ module: 'n-007' }, context)).rejects.toMatchObject({
      reason: 'MODULE_NOT_FOUND',
      message: expect.stringContaining('m-007'),
    });
  });

  it('gives all by name in pages, which stay right while modules come and go', async () => {
    const seen: string[] = [];
    let token = '';
    do {
      const page = (await service.getAllModuleHealth({ pageSize: 0, pageToken: token }, context)) as {
        modules: ModuleHealth[];
        nextPageToken: string;
      };
      seen.push(...page.modules.map(({ module }) => module));
      // the last of the first page goes: the next page goes on behind it all the same
      if (token === '') present.delete('m-099');
      token = page.nextPageToken;
    } while (token !== '');
    expect(seen).toEqual(names);
    const whole = await service.getAllModuleHealth({ pageSize: 1_000, pageToken: '' }, context);
    expect(whole).toMatchObject({ nextPageToken: '', modules: { length: 249 } });
    for (const [pageSize, pageToken, expected] of [
      [1_001, '', 'OUT_OF_RANGE'],
      [1, 'm-001', 'INVALID_REQUEST'],
      [1, 'after:../x', 'INVALID_REQUEST'],
    ] as const) {
      expect(await reason(service.getAllModuleHealth({ pageSize, pageToken }, context) as Promise<unknown>)).toBe(
        expected,
      );
    }
  });
});
