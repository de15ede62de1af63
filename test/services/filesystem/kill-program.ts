// Writes one file over and over, each time of one other byte, beside a write that never ends; says what is acknowledged.
import { writeSync } from 'node:fs';
import { call, createFilesRig, headerOf, MIB, piece } from './rig.js';

const [dir = '', first = '0'] = process.argv.slice(2);
const rig = await createFilesRig({ dir });
const say = (line: string): void => void writeSync(1, `${line}\n`);

async function* half() {
  yield headerOf('f');
  yield piece(Buffer.alloc(MIB, 255));
  // held by the timer: a promise that nobody can settle any more would be collected, and the write with it
  await new Promise((resolve) => setInterval(resolve, 3_600_000));
}
void rig.service.writeFile(half(), call());

for (let byte = Number(first); ; byte = (byte + 1) % 250) {
  say(`begin ${byte}`);
  await rig.write('f', Buffer.alloc(2 * MIB, byte));
  say(`done ${byte}`);
}
