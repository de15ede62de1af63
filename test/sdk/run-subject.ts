import { HealthStatus, runModule } from '../../src/sdk/index.js';

/** A module as a process of its own, for test/sdk/run.test.ts: what it does is its first argument. */
const [, , task] = process.argv;

const handlers = {
  health: () => ({ status: HealthStatus.DEGRADED, message: 'of the test' }),
  stop: ({ reason }: { reason: number }) => void process.stderr.write(`stop ${reason}\n`),
};

await runModule({ version: '1.2.3', ...(task === 'answer' ? { handlers } : {}) }, async (module, signal) => {
  module.log.info('running');
  await module.ready();
  if (task === 'fail') throw new Error('a defect of the module');
  if (task === 'return') return;
  if (task === 'follow') {
    for await (const change of await module.follow({ cursor: 'tip', signal })) module.log.info(change.kind);
    return;
  }
  if (task === 'answer') return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
  // hangs: runModule has to end the process all the same
  setInterval(() => {}, 1_000);
  await new Promise(() => {});
});
