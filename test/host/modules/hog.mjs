// Takes all that it can of one resource, HOG, from SIGUSR1 to SIGUSR2; some hogs are ended before that.
import { spawn } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';

const held = [];
let isOn = false;

/** Forks for ever, and so does each child. */
const BOMB = `
import os, time
end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
`;

const python = (code) => spawn('/usr/bin/python3', ['-c', code], { stdio: 'ignore' });

/** What each does every 10 ms while it is on. */
const hogs = {
  memory: () => held.push(Buffer.alloc(16 << 20, 1)),
  // each child stays below the limit, their sum does not
  children: () => {
    if (held.length < 8) held.push(python('x = bytearray([1]) * (40 << 20); import time; time.sleep(60)'));
  },
  cpu: () => {
    if (held.length < 1) held.push(spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }));
  },
  pids: () => {
    if (held.length < 1) held.push(python(BOMB));
  },
  files: () => {
    try {
      for (;;) held.push(openSync('/dev/null', 'r'));
    } catch (error) {
      if (error.code !== 'EMFILE') throw error;
    }
  },
  disk: () => {
    held.push(1);
    writeFileSync(`/data/${held.length}`, Buffer.alloc(4 << 20, 1));
  },
};

const stops = {
  // every process of its sandbox but its first and itself
  cpu: () => process.kill(-1, 'SIGKILL'),
  pids: () => process.kill(-1, 'SIGKILL'),
  files: () => {
    for (const fd of held) closeSync(fd);
  },
};

export default ({ say }) => {
  const { HOG } = process.env;
  process.on('SIGUSR1', () => {
    isOn = true;
    say('on');
  });
  process.on('SIGUSR2', () => {
    isOn = false;
    stops[HOG]?.();
    held.length = 0;
    say('off');
  });
  say('listening');
  setInterval(() => {
    if (isOn) hogs[HOG]();
  }, 10);
};
