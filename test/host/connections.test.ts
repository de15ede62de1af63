import { connect } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import type { LogFields, Logger } from '../../src/core/logger.js';
import { createExternalHost } from './external-host.js';
import { atEnd, cleanUp, ready } from './host-rig.js';
import { until } from './spawned-host.js';

afterEach(cleanUp);

it('C066: connections over the limit are closed, and a loop of them is counted in the log, not written out', async () => {
  const told: LogFields[] = [];
  const keep = (fields: LogFields): void => {
    if (fields.reason === 'TOO_MANY_CONNECTIONS') told.push(fields);
  };
  const logger: Logger = { trace: keep, debug: keep, info: keep, warn: keep, error: keep, child: () => logger };
  const rig = await createExternalHost({ modules: [{ name: 'probe', capabilities: [] }], logger });
  atEnd(() => rig.dispose());
  const socketPath = await rig.open('probe');
  await ready(socketPath);
  let closed = 0;
  for (let i = 0; i < 60; i++) {
    const socket = connect(socketPath);
    atEnd(() => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => {
      closed += 1;
    });
    socket.resume();
  }
  await until('the refusals', () => closed >= 50);
  const count = () => told.reduce((sum, fields) => sum + Number(fields.count), 0);
  await until('the count of them', () => count() >= 50);
  expect(told.length).toBeLessThan(closed / 4);
});
