import { afterEach, describe, expect, it } from 'vitest';
import { ProbeKind } from '../../gen/ts/modhost/admin/v1/status.js';
import { ModuleHealthLabel } from '../../gen/ts/modhost/event/v1/module.js';
import { HealthServiceClient, HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import { unary } from '../ipc/rig.js';
import { cleanUp, client, external, ready } from './host-rig.js';
import { STATES, until } from './spawned-host.js';

afterEach(cleanUp);

describe('what a module says of its own health', () => {
  it('makes it DEGRADED and well again, is told as an event, and stays apart from whether it answers', async () => {
    const rig = await external(['report_metrics']);
    const labels: [ModuleHealthLabel, ModuleHealthLabel][] = [];
    void (async () => {
      for await (const { event } of rig.host.events()) {
        if (event.payload?.$case !== 'moduleHealthChanged') continue;
        labels.push([event.payload.value.oldHealth, event.payload.value.newHealth]);
      }
    })();
    const socket = await rig.open('probe');
    await ready(socket);
    const status = () => rig.host.list()[0];
    const health = client(HealthServiceClient, socket);
    const report = (of: HealthStatus, message = '') =>
      unary((done) => health.reportHealth({ report: { status: of, message, checks: [] } }, done as never));
    expect(status()).toMatchObject({ health: undefined, responsive: true, probe: ProbeKind.PING });
    await report(HealthStatus.UNHEALTHY, 'no peers');
    expect(STATES[status()?.state ?? 0]).toBe('DEGRADED');
    expect(status()).toMatchObject({
      reason: expect.stringContaining('no peers'),
      health: { status: HealthStatus.UNHEALTHY },
      responsive: true,
      missedProbes: 0,
    });
    await report(HealthStatus.HEALTHY);
    await until('it to be well', () => STATES[status()?.state ?? 0] === 'RUNNING');
    expect(labels).toEqual([
      [ModuleHealthLabel.UNKNOWN, ModuleHealthLabel.UNHEALTHY],
      [ModuleHealthLabel.UNHEALTHY, ModuleHealthLabel.HEALTHY],
    ]);
  });
});
