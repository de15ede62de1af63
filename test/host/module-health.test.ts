import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createModuleHealth } from '../../src/host/module-health.js';

function health() {
  const told: string[] = [];
  const made = createModuleHealth({
    clock: createSystemClock(),
    onChange: (before, now) => told.push(`${before} ${now} ${made.trouble() ?? ''}`.trim()),
  });
  return { made, told };
}
const report = (status: HealthStatus, message = '') => ({ status, message, checks: [] });

describe('the health of a module', () => {
  it('keeps its own word apart from whether it answers', () => {
    const { made, told } = health();
    made.open();
    expect(made.label()).toBe('UNKNOWN');
    made.answered(undefined);
    expect(told).toEqual(['UNKNOWN HEALTHY']);
    made.reported(report(HealthStatus.UNHEALTHY, 'no peers'));
    // it answers, and says that it does not work
    expect([made.label(), made.missedProbes(), made.trouble()]).toEqual([
      'UNHEALTHY',
      0,
      'reports that it is unhealthy: no peers',
    ]);
    made.reported(report(HealthStatus.HEALTHY));
    made.missed(1, 3);
    // it says that all is well, and does not answer
    expect([made.label(), made.missedProbes(), made.trouble()]).toEqual(['DEGRADED', 1, 'missed 1 of 3 health checks']);
    made.answered(undefined);
    expect([made.label(), made.trouble()]).toEqual(['HEALTHY', undefined]);
    made.close();
  });

  it('tells nothing before Ready, then what has come about until then, and nothing after its end', () => {
    const { made, told } = health();
    made.reported(report(HealthStatus.DEGRADED));
    expect(told).toEqual([]);
    made.open();
    expect(told).toEqual(['UNKNOWN DEGRADED reports that it is degraded']);
    made.close();
    made.failed();
    expect(told).toHaveLength(1);
  });

  it('tells of a module that changes its mind a thousand times at most once a second, and ends with the last word', async () => {
    const { made, told } = health();
    made.open();
    for (let i = 0; i < 1_000; i++) {
      made.reported(report(i % 2 === 0 ? HealthStatus.HEALTHY : HealthStatus.UNHEALTHY));
    }
    expect(told).toEqual(['UNKNOWN HEALTHY']);
    await sleep(1_100);
    expect(told.slice(1)).toEqual(['HEALTHY UNHEALTHY reports that it is unhealthy']);
    made.failed();
    made.close();
    expect(told).toHaveLength(2);
  });
});
