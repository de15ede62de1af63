import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { delay } from '../../src/core/delay.js';
import { createPlace, type Place, sandboxToolchain } from '../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();
const HOST = new URL('./host-program.ts', import.meta.url).pathname;
/** Host's death to the last process gone: the promise is 2 s; a loaded machine gets more before the test gives up. */
const GONE_WITHIN_MS = 10_000;

/** Processes of the whole machine whose command line holds a word that nobody else uses. */
function processesWith(word: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name)) return [];
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(word) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; waited < GONE_WITHIN_MS; waited += 25) {
    if (holds()) return;
    await delay(25);
  }
  expect.fail(`not within ${GONE_WITHIN_MS} ms: ${what}`);
}

/** Sleeps for ever under a name of its own, as child, as grandchild in its own session, and as a daemon without pipes. */
function nest(word: string): string {
  return `#!/bin/sh
ln -s /usr/bin/sleep "$DATA_DIR/${word}" 2>/dev/null
S="$DATA_DIR/${word}"
"$S" 9999 &
setsid "$S" 9998 &
(setsid sh -c "exec $S 9997 <&- >&- 2>&-" &) &
sleep 0.3
echo nested`;
}

describe.skipIf(skip)('no process outlives what started it', () => {
  let place: Place;
  let scratch: string;
  let word: string;
  let host: ChildProcess | undefined;
  beforeEach(async () => {
    word = `orphan-${randomBytes(8).toString('hex')}`;
    place = await createPlace();
    scratch = await mkdtemp(join(tmpdir(), 'modhost-orphans-'));
  });
  afterEach(async () => {
    host?.kill('SIGKILL');
    await place.remove();
    await rm(scratch, { recursive: true, force: true });
  });

  test('C143: daemons of a module end with it, when it exits and when it is killed', async () => {
    const exit = await place.run(nest(word));
    expect(exit).toMatchObject({ code: 0, stdout: 'nested' });
    await until('after the exit', () => processesWith(word).length === 0);

    const running = await place.start(`${nest(word)}\nexec sleep 9996`);
    await until('three processes', () => processesWith(word).length === 3);
    expect(await running.kill()).toMatchObject({ signal: 'SIGKILL', requested: true });
    await until('after the kill', () => processesWith(word).length === 0);
  });

  test('C154: a host killed by SIGKILL takes its module and all its descendants along', async () => {
    host = spawn(process.execPath, ['--import', 'tsx', HOST, `${nest(word)}\nexec sleep 9996`, scratch], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    host.stdout?.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
    });
    await until('the module runs', () => printed.includes('nested') && printed.includes('started'));
    expect(processesWith(word)).toHaveLength(3 + 1 /* the host, whose argument holds the script */);
    host.kill('SIGKILL');
    await until('nothing is left', () => processesWith(word).length === 0);
  });

  test('descriptors that the host inherited do not reach a module', async () => {
    const secret = join(scratch, 'secret');
    await writeFile(secret, 'inherited');
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    const script = '#!/bin/sh\nfor fd in /proc/self/fd/*; do echo "fd ${fd##*/} $(readlink $fd)"; done; echo all';
    host = spawn(
      'bash',
      ['-c', 'exec 9<"$0" 251<"$0"; exec "$@"', secret, process.execPath, '--import', 'tsx', HOST, script, scratch],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const inherited = (): string[] => readdirSync(`/proc/${host?.pid}/fd`).filter((fd) => fd === '9' || fd === '251');
    let printed = '';
    host.stdout?.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
    });
    await until('the module has told', () => printed.includes('all\n'));
    expect(inherited()).toEqual(['251', '9']);
    expect(printed).not.toContain(secret);
    expect(printed.match(/^fd \d+/gm)).toEqual(expect.arrayContaining(['fd 0', 'fd 1', 'fd 2']));
    expect(printed).not.toMatch(/^fd (?:9|251)\b/m);
  });
});
