import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { LogLevel, LogServiceClient, LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import { createRig, type Rig } from './rig.js';

/** Messages that may be on their way beside the one that is handled: one read ahead, one half read, two in the windows. */
const MOST_AHEAD = 4;
const MESSAGES = 40;

let rig: Rig | undefined;
afterEach(() => rig?.dispose());

it('C159: reads of a stream no further ahead than a message or two, however large they are', async () => {
  let go: (() => void) | undefined;
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  let heard = 0;
  // a method whose messages are taken whole
  const slow = {
    async write(requests: AsyncIterable<unknown>) {
      for await (const _ of requests) {
        heard += 1;
        await held;
      }
      return { accepted: BigInt(heard), dropped: 0n };
    },
  };
  rig = await createRig({ replace: [{ definition: LogServiceService, impl: slow }] });
  await rig.open();
  const client = rig.client(LogServiceClient);
  let sent = 0;
  const answer = new Promise<bigint>((resolve, reject) => {
    const stream = client.write((error, value) => (error === null ? resolve(value.accepted) : reject(error)));
    // one record of a MiB is one part
    const message = 'x'.repeat(1024 * 1024);
    const record = { level: LogLevel.INFO, message, target: '', timeUnixMs: 0n, fields: [] };
    for (let n = 0; n < MESSAGES; n += 1) stream.write({ records: [record] }, () => (sent += 1));
    stream.end();
  });
  for (let before = -1; before < sent || heard === 0; ) {
    before = sent;
    await sleep(200);
  }
  expect(heard).toBe(1);
  expect(sent).toBeLessThanOrEqual(heard + MOST_AHEAD);
  go?.();
  expect(await answer).toBe(BigInt(MESSAGES));
});
