// The TypeScript end of the stories of what the host keeps, by the SDK. Orders and what it tells as in main.py.
import { appendFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  HealthStatus,
  InvocationError,
  InvocationFailureKind,
  ModhostError,
  runModule,
} from '../../../src/sdk/index.js';

type Order = { order: number; do: string } & Record<string, string | number>;

const dataDir = process.env.MODHOST_DATA_DIR ?? '';
const tell = (facts: object): void => appendFileSync(join(dataDir, 'told.jsonl'), `${JSON.stringify(facts)}\n`);

const handlers = {
  health: () => ({ status: HealthStatus.HEALTHY }),
  rpc: ({ method, paramsJson }: { method: string; paramsJson: string }) => {
    if (method === 'kept_fail') throw new InvocationError(InvocationFailureKind.FAILED, 'no luck', { code: -32_050 });
    return { resultJson: `{"method":"${method}","params":${paramsJson === '' ? 'null' : paramsJson}}` };
  },
  task: ({ taskId, name, payload }: { taskId: bigint; name: string; payload: Uint8Array }) =>
    tell({ kind: 'task', id: Number(taskId), name, payload: Buffer.from(payload).toString() }),
};

await runModule({ version: '1.0.0', handlers }, async (module, signal) => {
  const { rpc, timer, modules } = module.clients;
  const heard = await module.events({ types: ['MODULE_LOADED'], topics: ['kept-py.news'], signal });
  for (const method of ['kept_echo', 'kept_fail']) {
    await rpc.registerEndpoint({ method, description: 'a story', timeoutMs: 0 });
  }
  const orders: Record<string, (order: Order) => Promise<unknown>> = {
    schedule: async ({ delayMs, payload }) => {
      const when = { $case: 'delayMs' as const, value: BigInt(delayMs ?? 0) };
      const { taskId } = await timer.scheduleTask({ when, name: 'story', payload: Buffer.from(String(payload)) });
      return Number(taskId);
    },
    cancel: async ({ taskId }) => timer.cancelTask({ taskId: BigInt(taskId ?? 0) }),
    tasks: async () => (await timer.listTimers({})).tasks.map(({ taskId }) => Number(taskId)),
    discover: async () => {
      const { modules: found } = await modules.discover({ pageSize: 0, pageToken: '' });
      return found.map(({ name, apiVersion, apiMethods }) => ({ name, apiVersion, apiMethods }));
    },
    available: async ({ name }) => (await modules.isAvailable({ name: String(name) })).available,
  };
  const obey = async (order: Order): Promise<void> => {
    try {
      tell({ order: order.order, gave: await orders[order.do]?.(order) });
    } catch (thrown) {
      tell({ order: order.order, reason: ModhostError.from(thrown).reason });
    }
  };
  const takeOrders = async (): Promise<void> => {
    const path = join(dataDir, 'orders');
    while (!signal.aborted) {
      let text = '';
      try {
        text = readFileSync(path, 'utf8');
        rmSync(path);
      } catch {
        // there is none
      }
      for (const line of text.split('\n').filter((line) => line !== '')) void obey(JSON.parse(line) as Order);
      await sleep(10);
    }
  };
  await module.ready();
  tell({ kind: 'ready' });
  void takeOrders();
  for await (const item of heard) {
    if (item.kind !== 'event' || item.event.payload?.$case !== 'topic') continue;
    const { event } = item;
    const { topic, body } = item.event.payload.value;
    tell({
      kind: 'heard',
      topic,
      body: Buffer.from(body).toString(),
      source: event.source,
      at: Number(event.timeUnixMs),
    });
  }
});
