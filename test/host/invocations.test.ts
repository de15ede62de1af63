import type { ClientDuplexStream } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { type GetModuleHealthResponse, HealthServiceClient, HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import {
  type InvocationResult,
  InvocationServiceClient,
  type ServeRequest,
  type ServeResponse,
  StopReason,
} from '../../gen/ts/modhost/v1/invocation.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { cleanUp, client, external, ready } from './host-rig.js';
import { STATES, until } from './spawned-host.js';

afterEach(cleanUp);

type Answer = (kind: string) => InvocationResult['outcome'];

/** Serves invocations on a module's socket; hears what is asked. */
const serve = async (socketPath: string, answer: Answer) => {
  const stream: ClientDuplexStream<ServeRequest, ServeResponse> = client(InvocationServiceClient, socketPath).serve();
  const asked: { kind: string; value: unknown }[] = [];
  stream.on('error', () => {});
  stream.on('data', ({ invocations }: ServeResponse) => {
    for (const { id, work } of invocations) {
      asked.push({ kind: work?.$case ?? '', value: work?.value });
      const outcome = answer(work?.$case ?? '');
      if (outcome !== undefined) stream.write({ maxConcurrent: 0, results: [{ id, outcome }] });
    }
  });
  await new Promise((resolve) => stream.once('metadata', resolve));
  return { stream, asked };
};
const done: InvocationResult['outcome'] = { $case: 'done', value: {} };
const health = (status: HealthStatus, message = ''): InvocationResult['outcome'] => ({
  $case: 'health',
  value: { report: { status, message, checks: [] } },
});
const QUICK = { modules: { probe: { run: 'external', unsigned: true } } } as const;

describe('what the host asks of a module', () => {
  it('the wish to stop with its reason; the session ends with the answer', async () => {
    const rig = await external([], QUICK);
    for (const [command, reason] of [
      [() => rig.host.reload('probe'), StopReason.RELOAD],
      [() => rig.host.unload('probe'), StopReason.UNLOAD],
    ] as const) {
      const socketPath = await rig.open('probe');
      const { asked, stream } = await serve(socketPath, (kind) => (kind === 'stop' ? done : undefined));
      await ready(socketPath);
      const ended = reasonOf(new Promise((_, reject) => stream.once('error', reject)));
      await command();
      expect(asked).toEqual([{ kind: 'stop', value: { reason, graceMs: 10_000 } }]);
      expect(await ended).toBe('SESSION_CLOSED');
    }
    await rig.host.load('probe');
    const socketPath = await rig.open('probe');
    const { asked } = await serve(socketPath, () => done);
    await ready(socketPath);
    await rig.host.stop();
    expect(asked).toMatchObject([{ kind: 'stop', value: { reason: StopReason.HOST_STOPPING } }]);
  });

  it('its health, which is kept apart from its own reports and told to those who may read it', async () => {
    const rig = await external(['report_metrics', 'read_metrics'], QUICK);
    const socketPath = await rig.open('probe');
    const service = client(HealthServiceClient, socketPath);
    const read = async () =>
      (await unary<GetModuleHealthResponse>((cb) => service.getModuleHealth({ module: 'probe' }, cb))).health;
    expect(await read()).toMatchObject({ responsive: false, report: undefined, reportedUnixMs: 0n });
    await ready(socketPath);
    const report = { status: HealthStatus.DEGRADED, message: 'one peer\u001b[31m', checks: [] };
    await unary((cb) => service.reportHealth({ report }, cb));
    await until('the state', () => STATES[rig.host.list()[0]?.state ?? 0] === 'DEGRADED');
    expect(await read()).toMatchObject({ responsive: true, missedProbes: 0, report });
    expect((await read())?.reportedUnixMs).toBeGreaterThan(0n);
    expect((await read())?.reason).not.toContain('\u001b');
    expect(rig.host.list()[0]?.health).toMatchObject({ status: HealthStatus.DEGRADED });
    await unary((cb) =>
      service.reportHealth({ report: { status: HealthStatus.HEALTHY, message: '', checks: [] } }, cb),
    );
    await until('the state', () => STATES[rig.host.list()[0]?.state ?? 0] === 'RUNNING');
    const all = await unary((cb) => service.getAllModuleHealth({ pageSize: 0, pageToken: '' }, cb));
    expect(all).toMatchObject({ modules: [{ module: 'probe' }], nextPageToken: '' });
    const near = unary((cb) => service.getModuleHealth({ module: 'prob' }, cb));
    expect(await reasonOf(near)).toBe('MODULE_NOT_FOUND');
  });

  it('C133: what a module answers against the rules is counted in its status', async () => {
    const rig = await external([], QUICK);
    const socketPath = await rig.open('probe');
    const { stream } = await serve(socketPath, (kind) => (kind === 'stop' ? done : undefined));
    stream.write({
      maxConcurrent: 0,
      results: [
        { id: 1n, outcome: done },
        { id: 0n, outcome: undefined },
      ],
    });
    await until('the count', () => rig.host.list()[0]?.counters?.violations === 2n);
  });

  it('a health check by invocation: the answer is the module’s own word', async () => {
    const rig = await external([], QUICK);
    const outcome = health(HealthStatus.DEGRADED, 'syncing');
    const socketPath = await rig.open('probe');
    const { asked } = await serve(socketPath, (kind) => (kind === 'health' ? outcome : done));
    await ready(socketPath);
    await until('a health check', () => asked.length > 0);
    await until('the state', () => STATES[rig.host.list()[0]?.state ?? 0] === 'DEGRADED');
    expect(rig.host.list()[0]?.health).toMatchObject({ message: 'syncing' });
    expect(rig.host.list()[0]).toMatchObject({ responsive: true, missedProbes: 0 });
  }, 30_000);
});
