import { runModule } from '../../src/sdk/index.js';

/** A module as a process of its own, for test/sdk/run.test.ts: what it does is its first argument. */
const [, , task] = process.argv;

await runModule({ version: '1.2.3' }, async (module, signal) => {
  module.log.info('running');
  await module.ready();
  if (task === 'fail') throw new Error('a defect of the module');
  if (task === 'return') return;
  if (task === 'follow') {
    for await (const change of await module.follow({ cursor: 'tip', signal })) module.log.info(change.kind);
    return;
  }
  // hangs: runModule has to end the process all the same
  setInterval(() => {}, 1_000);
  await new Promise(() => {});
});
