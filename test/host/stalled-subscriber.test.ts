import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { EventType } from '../../gen/ts/modhost/event/v1/event.js';

/** What the host may gain between the first sample, when every buffer is full, and the largest: noise of the allocator. */
const RSS_SLACK_BYTES = 24 * 1024 * 1024;
/** What the programs of this test do in all; it takes a minute on a slow machine. */
const TIMEOUT_MS = 300_000;

const children: ChildProcess[] = [];
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

interface Program {
  child: ChildProcess;
  ask<T>(word: string): Promise<T>;
}

/** Starts one of the programs beside this test and waits for its first line. */
async function start<T>(file: string, ...args: string[]): Promise<Program & { first: T }> {
  const script = fileURLToPath(new URL(`./stalled/${file}`, import.meta.url));
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', script, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  const waiting: { resolve(line: string): void; reject(error: Error): void }[] = [];
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) =>
    waiting.shift()?.resolve(line),
  );
  child.once('exit', (code, signal) => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`${file} ${args.join(' ')} ended: ${code ?? signal}`));
  });
  const next = async (): Promise<unknown> =>
    JSON.parse(await new Promise<string>((resolve, reject) => waiting.push({ resolve, reject })));
  return {
    child,
    first: (await next()) as T,
    async ask<U>(word: string) {
      const answer = next();
      child.stdin?.write(`${word}\n`);
      return (await answer) as U;
    },
  };
}

interface Queue {
  queue: string;
  published: number;
  delivered: number;
  dropped: number;
  failed: number;
  queued: number;
}
interface Delivery {
  moduleId: string;
  queues: Queue[];
}
interface Report {
  chain: number;
  general: number;
  gapCount: number;
  chainGaps: number;
  droppedTotal: number;
  outOfOrder: number;
  repeated: number;
  added: number;
  missedIds: number;
}

const queueOf = (delivery: readonly Delivery[], moduleId: string, name: string): Queue => {
  const found = delivery.find((entry) => entry.moduleId === moduleId)?.queues.find(({ queue }) => queue === name);
  if (found === undefined) throw new Error(`no account of ${moduleId} ${name}`);
  return found;
};

describe('a subscriber that stands still', () => {
  it(
    'costs the host no memory and the others no event; its own account adds up to the last one',
    async () => {
      const host = await start<{ dir: string }>('host-program.ts');
      const { NEW_BLOCK, MEMPOOL_TRANSACTION_ADDED, MEMPOOL_TRANSACTION_REMOVED } = EventType;
      const subscribe = (name: string, ...types: EventType[]) =>
        start('subscriber-program.ts', host.first.dir, name, types.join(','));
      const stalled = await subscribe('stalled', NEW_BLOCK, MEMPOOL_TRANSACTION_ADDED, MEMPOOL_TRANSACTION_REMOVED);
      const healthy = await subscribe('healthy', NEW_BLOCK, MEMPOOL_TRANSACTION_ADDED);
      const bystander = await subscribe('bystander', NEW_BLOCK, MEMPOOL_TRANSACTION_REMOVED);

      stalled.child.kill('SIGSTOP');
      const flood = await host.ask<{ samples: number[]; faults: string[]; delivery: Delivery[] }>('flood');
      expect(flood.faults).toEqual([]);
      const standing = queueOf(flood.delivery, 'stalled', 'GENERAL');
      expect(standing.published).toBe(100_000);
      expect(standing.dropped).toBeGreaterThan(50_000);
      expect(queueOf(flood.delivery, 'stalled', 'CHAIN')).toMatchObject({ published: 50, dropped: 0 });
      const clear = await host.ask<{ faults: string[]; blocks: number }>('clear');
      expect(clear).toEqual({ faults: [], blocks: 51 });

      const mebibytes = flood.samples.map((bytes) => Math.round(bytes / 2 ** 20));
      process.stdout.write(`host RSS in MiB, every 5,000 transactions: ${mebibytes.join(' ')}\n`);
      expect(Math.max(...flood.samples) - (flood.samples[0] ?? 0)).toBeLessThan(RSS_SLACK_BYTES);

      stalled.child.kill('SIGCONT');
      let stats = await host.ask<{ delivery: Delivery[]; faults: string[]; rss: number }>('stats');
      const isWaiting = () => stats.delivery.some(({ queues }) => queues.some(({ queued }) => queued > 0));
      for (let i = 0; i < 200 && isWaiting(); i++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        stats = await host.ask('stats');
      }
      expect(isWaiting()).toBe(false);
      expect(stats.faults).toEqual([]);

      /** Published = heard + dropped, of each queue, when all has arrived. */
      const reported = async (program: Program, name: string): Promise<Report> => {
        const [chain, general] = ['CHAIN', 'GENERAL'].map((queue) => queueOf(stats.delivery, name, queue)) as [
          Queue,
          Queue,
        ];
        let report = await program.ask<Report>('report');
        for (let i = 0; i < 200 && report.chain + report.general < chain.delivered + general.delivered; i++) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          report = await program.ask('report');
        }
        expect(report).toMatchObject({
          chain: chain.delivered,
          general: general.delivered,
          droppedTotal: chain.dropped + general.dropped,
          gapCount: chain.dropped + general.dropped,
          outOfOrder: 0,
          repeated: 0,
        });
        expect(chain.published).toBe(chain.delivered + chain.dropped + chain.failed);
        expect(general.published).toBe(general.delivered + general.dropped + general.failed);
        return report;
      };
      expect(await reported(healthy, 'healthy')).toMatchObject({
        chain: 51,
        general: 100_000,
        gapCount: 0,
        missedIds: 0,
      });
      // a burst that no queue can hold costs what is of its own kind, never a block
      expect(await reported(bystander, 'bystander')).toMatchObject({ chain: 51, chainGaps: 0 });
      const late = await reported(stalled, 'stalled');
      expect(late).toMatchObject({ chain: 51, chainGaps: 0 });
      expect(late.general + late.gapCount).toBe(105_000);
      process.stdout.write(
        `stalled: ${late.general} general events heard, ${late.gapCount} told as lost, all ${late.chain} blocks heard\n`,
      );
      await host.ask('stop');
    },
    TIMEOUT_MS,
  );
});
