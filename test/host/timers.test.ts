import type { ClientDuplexStream } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { EventServiceClient } from '../../gen/ts/modhost/event/v1/event_service.js';
import {
  InvocationServiceClient,
  type ServeRequest,
  type ServeResponse,
  type TaskInvocation,
  type TimerInvocation,
} from '../../gen/ts/modhost/v1/invocation.js';
import {
  type ListTimersResponse,
  type RegisterTimerResponse,
  type ScheduleTaskRequest,
  type ScheduleTaskResponse,
  TimerServiceClient,
  TimerServiceService,
} from '../../gen/ts/modhost/v1/timer.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { createExternalHost } from './external-host.js';
import { atEnd, cleanUp, client, external, ready } from './host-rig.js';
import { until } from './spawned-host.js';

afterEach(cleanUp);

/** A module of the test over real streams: its calls, and what it was woken for. */
const module = async (more: Parameters<typeof external>[1] = {}) => {
  const rig = await external(['manage_timers', 'subscribe_events'], more);
  const open = async () => {
    const socket = await rig.open('probe');
    const timers = client(TimerServiceClient, socket);
    const ticks: TimerInvocation[] = [];
    const tasks: TaskInvocation[] = [];
    const serve = async (onTick: (tick: TimerInvocation) => Promise<void> = async () => {}) => {
      const stream: ClientDuplexStream<ServeRequest, ServeResponse> = client(InvocationServiceClient, socket).serve();
      stream.on('error', () => {});
      stream.on('data', async ({ invocations }: ServeResponse) => {
        for (const { id, work } of invocations) {
          if (work?.$case === 'timer') {
            ticks.push(work.value);
            await onTick(work.value);
          }
          if (work?.$case === 'task') tasks.push(work.value);
          stream.write({ maxConcurrent: 0, results: [{ id, outcome: { $case: 'done', value: {} } }] });
        }
      });
      await new Promise((resolve) => stream.once('metadata', resolve));
      return stream;
    };
    return {
      socket,
      ticks,
      tasks,
      serve,
      register: (intervalMs: number, name = '') =>
        unary<RegisterTimerResponse>((done) => timers.registerTimer({ intervalMs, name }, done)),
      registerRaw: (bytes: Buffer) =>
        unary((done) =>
          timers.makeUnaryRequest(
            TimerServiceService.registerTimer.path,
            () => bytes,
            (answer) => answer,
            {},
            done as never,
          ),
        ),
      cancel: (timerId: bigint) => unary((done) => timers.cancelTimer({ timerId }, done as never)),
      cancelTask: (taskId: bigint) => unary((done) => timers.cancelTask({ taskId }, done as never)),
      schedule: (when: ScheduleTaskRequest['when'], name = '', payload = new Uint8Array()) =>
        unary<ScheduleTaskResponse>((done) => timers.scheduleTask({ when, name, payload }, done)),
      list: () => unary<ListTimersResponse>((done) => timers.listTimers({}, done)),
    };
  };
  return { rig, open, status: () => rig.host.list()[0] };
};

describe('a module with timers', () => {
  it('C113: gets ticks for intervals within the bounds, and OUT_OF_RANGE for others', async () => {
    const { open } = await module();
    const { register, registerRaw, cancel, list } = await open();
    for (const bad of [0, 1, 99]) expect(await reasonOf(register(bad)), `${bad}`).toBe('OUT_OF_RANGE');
    // -1, 2^53 + 1 and 2^64 - 100 as no generated stub writes them: whatever is read of them, no flood comes of it
    for (const varint of ['ffffffffffffffffff01', '8180808080808010', '9cffffffffffffffff01']) {
      await registerRaw(Buffer.from(`08${varint}`, 'hex')).catch(() => {});
    }
    const { timers } = await list();
    expect(timers.filter(({ intervalMs }) => intervalMs < 100)).toEqual([]);
    for (const { timerId } of timers) await cancel(timerId);
    for (const good of [100, 2 ** 31, 2 ** 32 - 1]) await register(good);
    expect((await list()).timers.map(({ intervalMs }) => intervalMs)).toEqual([100, 2 ** 31, 2 ** 32 - 1]);
    expect((await list()).timers[2]?.nextInMs).toBeGreaterThan(2 ** 32 - 60_000);
    expect(await reasonOf(register(100, 'n'.repeat(65)))).toBe('OUT_OF_RANGE');
  });

  it('C118: gets a task of the past at once, and OUT_OF_RANGE for one of the year 9999', async () => {
    const { open } = await module();
    const { schedule, serve, tasks } = await open();
    await serve();
    const payload = Uint8Array.from({ length: 65_536 }, (_, i) => i);
    await schedule({ $case: 'atUnixMs', value: 1n }, 'past', payload);
    await until('the task', () => tasks.length === 1);
    expect(tasks).toEqual([{ taskId: 1n, name: 'past', payload: Buffer.from(payload) }]);
    const year9999 = BigInt(Date.UTC(9999, 0, 1));
    expect(await reasonOf(schedule({ $case: 'atUnixMs', value: year9999 }))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(schedule({ $case: 'atUnixMs', value: 2n ** 64n - 1n }))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(schedule({ $case: 'delayMs', value: 2n ** 53n }))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(schedule({ $case: 'delayMs', value: 366n * 86_400_000n + 1n }))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(schedule(undefined))).toBe('FIELD_REQUIRED');
    expect(await reasonOf(schedule({ $case: 'delayMs', value: 0n }, '', new Uint8Array(65_537)))).toBe('OUT_OF_RANGE');
    await schedule({ $case: 'delayMs', value: 366n * 86_400_000n }, 'far');
  });

  it('C116: cancels in the callback, twice, and ids that are not its own', async () => {
    const { open, status } = await module();
    const { register, cancel, cancelTask, schedule, serve, ticks, list } = await open();
    const second: string[] = [];
    await serve(async ({ timerId }) => {
      await cancel(timerId);
      second.push(await reasonOf(cancel(timerId)));
    });
    await register(100, 'once');
    await until('the tick', () => second.length === 1);
    expect(second).toEqual(['NOT_FOUND']);
    const { taskId } = await schedule({ $case: 'delayMs', value: 60_000n });
    expect(status()?.timers).toBe(1);
    await cancelTask(taskId);
    for (const id of [0n, 1n, taskId, 2n ** 64n - 1n]) {
      expect(await reasonOf(cancel(id))).toBe('NOT_FOUND');
      expect(await reasonOf(cancelTask(id))).toBe('NOT_FOUND');
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(ticks).toHaveLength(1);
    expect(await list()).toEqual({ timers: [], tasks: [] });
  });

  it('C114 C117: has 64 at most; they are gone with its session, and its successor hears of none', async () => {
    const { rig, open, status } = await module();
    const first = await open();
    await ready(first.socket);
    const stream = await first.serve();
    const results = await Promise.all(Array.from({ length: 200 }, () => reasonOf(first.register(100))));
    expect(results.filter((reason) => reason !== 'QUOTA_EXCEEDED')).toHaveLength(64);
    expect(status()?.timers).toBe(64);
    await until('ticks', () => first.ticks.length > 64);
    stream.cancel();
    await rig.host.reload('probe');
    expect(status()?.timers).toBe(0);
    const successor = await open();
    await successor.serve();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(successor.ticks).toEqual([]);
    expect((await successor.list()).timers).toEqual([]);
  });

  it('C159: may have 64 timers of the shortest interval; another’s calls and ticks go on', async () => {
    const capabilities = ['manage_timers'];
    const rig = await createExternalHost({
      modules: [
        { name: 'flood', capabilities },
        { name: 'other', capabilities },
      ],
    });
    atEnd(() => rig.dispose());
    const speak = async (name: string) => {
      const socket = await rig.open(name);
      await ready(socket);
      const timers = client(TimerServiceClient, socket);
      const stream: ClientDuplexStream<ServeRequest, ServeResponse> = client(InvocationServiceClient, socket).serve();
      const heard = { messages: 0, ticks: [] as TimerInvocation[] };
      stream.on('error', () => {});
      stream.on('data', ({ invocations }: ServeResponse) => {
        heard.messages += 1;
        for (const { work } of invocations) if (work?.$case === 'timer') heard.ticks.push(work.value);
        const outcome = { $case: 'done', value: {} } as const;
        stream.write({ maxConcurrent: 0, results: invocations.map(({ id }) => ({ id, outcome })) });
      });
      await new Promise((resolve) => stream.once('metadata', resolve));
      return {
        heard,
        register: (intervalMs: number) =>
          unary<RegisterTimerResponse>((done) => timers.registerTimer({ intervalMs, name: '' }, done)),
        list: () => unary<ListTimersResponse>((done) => timers.listTimers({}, done)),
      };
    };
    const [flood, other] = [await speak('flood'), await speak('other')];
    await other.register(200);
    await Promise.all(Array.from({ length: 64 }, () => flood.register(100)));
    await until('ticks', () => flood.heard.ticks.length > 640);
    expect(await reasonOf(flood.register(100))).toBe('QUOTA_EXCEEDED');
    // ticks that are due together share a message
    expect(flood.heard.messages).toBeLessThan(flood.heard.ticks.length / 2);
    await until("the other's ticks", () => other.heard.ticks.length > 3);
    const [own] = (await other.list()).timers;
    expect(Number(own?.ticks) - Number(own?.missed)).toBeGreaterThan(3);
  });

  it('hears that the host is about to stop, and is asked to write out what it holds', async () => {
    const { rig, open } = await module();
    const { socket } = await open();
    await ready(socket);
    const heard: string[] = [];
    const types = [EventType.NODE_SHUTDOWN, EventType.DATA_MAINTENANCE];
    const events = client(EventServiceClient, socket).subscribe({ types, topics: [], chainCursor: [] });
    events.on('error', () => {});
    events.on('data', ({ events: batch }) => {
      for (const { payload } of batch) heard.push(payload?.$case ?? '');
    });
    await new Promise((resolve) => events.once('metadata', resolve));
    await rig.host.stop();
    expect(heard.filter((name) => name === 'nodeShutdown' || name === 'dataMaintenance')).toEqual([
      'nodeShutdown',
      'dataMaintenance',
    ]);
  });
});
