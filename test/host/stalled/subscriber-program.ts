// A module in a process of its own that only listens. Arguments: directory of the host, name, event types by number. Says one
// line when its stream is open; answers `report` on standard input with what it has heard.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { credentials, type ServiceError, status } from '@grpc/grpc-js';
import type { EventType } from '../../../gen/ts/modhost/event/v1/event.js';
import { EventServiceClient, type SubscribeResponse } from '../../../gen/ts/modhost/event/v1/event_service.js';
import { SessionServiceClient } from '../../../gen/ts/modhost/v1/session.js';

const [dir = '', name = '', types = ''] = process.argv.slice(2);
const place = join(dir, 's', `x-${name}`);
const session = new SessionServiceClient(`unix:${join(place, 'host.sock')}`, credentials.createInsecure());
const events = new EventServiceClient(`unix:${join(place, 'host.sock')}`, credentials.createInsecure());
const settled = (call: (done: (error: ServiceError | null) => void) => unknown): Promise<void> =>
  new Promise((resolve, reject) => {
    call((error) => (error === null ? resolve() : reject(error)));
  });

const heard = { chain: 0, general: 0, gapCount: 0, droppedTotal: 0, outOfOrder: 0, repeated: 0, chainGaps: 0 };
const last = { chain: 0n, general: 0n };
let added = -1;
let missedIds = 0;

const take = ({ events: batch, gaps, droppedTotal }: SubscribeResponse): void => {
  for (const { sequence, payload } of batch) {
    const queue = payload?.$case === 'newBlock' ? 'chain' : 'general';
    heard[queue] += 1;
    if (sequence === last[queue]) heard.repeated += 1;
    if (sequence < last[queue]) heard.outOfOrder += 1;
    last[queue] = sequence;
    if (payload?.$case === 'mempoolTransactionAdded') {
      const id = Buffer.from(payload.value.txid).readUInt32BE();
      if (id <= added) heard.outOfOrder += 1;
      missedIds += id - added - 1;
      added = id;
    }
  }
  for (const gap of gaps) {
    heard.gapCount += Number(gap.count);
    if (gap.queue === 1) heard.chainGaps += 1;
  }
  heard.droppedTotal = Number(droppedTotal);
};

const claims = {
  moduleName: name,
  moduleVersion: '1.0.0',
  protocolMin: 1,
  protocolMax: 1,
  sdkName: '',
  sdkVersion: '',
};
await settled((done) => session.handshake({ token: readFileSync(join(place, 'token')), ...claims }, done));
const stream = events.subscribe({
  types: types.split(',').map(Number) as EventType[],
  topics: [],
  chainCursor: [],
});
stream.on('error', (error: ServiceError) => {
  // the host's own end is no news
  if (error.code !== status.UNAVAILABLE) process.stderr.write(`${name}: ${error.message}\n`);
});
await new Promise<void>((resolve) => {
  stream.on('data', (response: SubscribeResponse) => {
    take(response);
    resolve();
  });
});
await settled((done) => session.ready({}, done));
process.stdout.write('{}\n');
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'report') process.stdout.write(`${JSON.stringify({ ...heard, added: added + 1, missedIds })}\n`);
}
