import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { StreamTopResponse } from '../../gen/ts/modhost/admin/v1/top.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { type TopView, topLines } from '../../src/cli/top-text.js';
import { createFollower } from './command-line.js';
import { createTalkingHost, type TalkingHost } from './talking-host.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let rig: TalkingHost;
let follow: ReturnType<typeof createFollower>;
const ask: TalkingHost['ask'] = (...words) => rig.ask(...words);
const json = async (...words: string[]): Promise<Record<string, unknown>> =>
  JSON.parse((await ask(...words, '--json')).out) as Record<string, unknown>;

/** The command line in a real shell, where pipes and terminals are real; `input` is typed after `until` was seen. */
const shell = (
  program: string,
  args: readonly string[],
  typed?: { until: string; keys: string },
): Promise<{ code: number | null; out: string }> =>
  new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      env: {
        ...{ PATH: process.env.PATH, HOME: join(rig.place.dir, 'home'), TERM: 'xterm' },
        MODHOST_CONFIG: join(rig.place.dir, 'modhost.toml'),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let out = '';
    let isTyped = false;
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (typed === undefined || isTyped || !out.includes(typed.until)) return;
      isTyped = true;
      child.stdin.write(typed.keys);
    });
    child.once('close', (code) => resolve({ code, out }));
  });
/** What a terminal takes for orders, and its own echo of Ctrl-C. */
const CONTROLS = new RegExp(`\\^C|${'\u001b'}\\[[?\\d;]*[A-Za-z]`, 'g');
/** Pictures that are drawn until Ctrl-C has gone its way on a busy machine; more would be no picture each half second. */
const DRAWN_AT_MOST = 40;
const MODHOST = `${process.execPath} --import tsx ${MAIN}`;

beforeAll(async () => {
  rig = await createTalkingHost();
  follow = createFollower(rig.place);
  // the option parser reads the environment of the process itself
  vi.stubEnv('MODHOST_CONFIG', join(rig.place.dir, 'modhost.toml'));
}, 60_000);

afterAll(async () => {
  vi.unstubAllEnvs();
  await rig.place.dispose();
});

const MIB = 1_048_576n;
const idle = {
  ...{
    module: 'idle',
    state: ModuleState.RUNNING,
    cpuPercent: 0,
    maxCpuPercent: 50,
    memoryBytes: 20n * MIB,
    maxMemoryBytes: 512n * MIB,
  },
  ...{ pids: 1, maxPids: 128, dataBytes: 0n, maxDataBytes: 512n * MIB, storageBytes: 0n, maxStorageBytes: 256n * MIB },
  ...{ callsPerSecond: 0, maxCallsPerSecond: 1_000, limitedPerSecond: 0, nodeCallsPerSecond: 0, nodeSharePercent: 0 },
  ...{ eventsPerSecond: 0, droppedPerSecond: 0, openInvocations: 0 },
};
const LOAD: StreamTopResponse = {
  ...{ timeUnixMs: 1_700_000_000_000n, intervalMs: 2_000, node: undefined, machine: undefined },
  host: {
    ...{ memoryBytes: 100n * MIB, cpuPercent: 3, loopDelayMs: 0.5, openFiles: 60, callsPerSecond: 850 },
    eventsPerSecond: 1,
  },
  modules: [idle, { ...idle, module: 'busy', cpuPercent: 45, memoryBytes: 600n * MIB, callsPerSecond: 850 }],
};

interface Load {
  host: Record<string, number>;
  node: Record<string, number>;
  machine: Record<string, number>;
  modules: (Record<string, number> & { module: string; state: string })[];
}

describe('modhost top', () => {
  it('tells what a module costs node, host and machine, beside what it may', async () => {
    const asked = ask('cli', 'talk', 'ask');
    const load = (await json('top', '--once', '--interval', '1.5')) as unknown as Load;
    const calls = Number((await asked).out);
    const [talker] = load.modules;
    expect(talker).toMatchObject({
      module: 'talker',
      state: 'RUNNING',
      node_share_percent: 100,
      dropped_per_second: 0,
    });
    // what was asked of the node in this interval, as the module itself counted
    expect(talker?.node_calls_per_second).toBeGreaterThan(0);
    expect(Number(talker?.node_calls_per_second) * 1.5).toBeLessThanOrEqual(calls * 1.1 + 1);
    expect(load.node.calls_per_second).toBeCloseTo(Number(talker?.node_calls_per_second), 5);
    for (const key of [
      'max_cpu_percent',
      'max_memory_bytes',
      'memory_bytes',
      'max_storage_bytes',
      'max_calls_per_second',
    ])
      expect(talker?.[key]).toBeGreaterThan(0);
    expect(load.host).toMatchObject({ memory_bytes: expect.any(Number), loop_delay_ms: expect.any(Number) });
    expect(load.host.open_files).toBeGreaterThan(5);
    expect(load.machine.available_bytes).toBeLessThanOrEqual(Number(load.machine.memory_bytes));
    expect(load.machine.disk_free_bytes).toBeLessThanOrEqual(Number(load.machine.disk_bytes));
  });

  it('is one table with --once, one object a line with --json, and ends when nobody reads on', async () => {
    const { code, out } = await ask('top', '--once', '--interval', '0.5', '--sort', 'memory');
    expect(code).toBe(0);
    expect(out).toMatch(/^MODULE +STATE +CPU +MEMORY .*OPEN$/m);
    expect(out).toMatch(/^talker +RUNNING +[\d.]+ +\d+% /m);
    const piped = await shell('bash', [
      '-c',
      `${MODHOST} top --json --interval 0.5 | head -n 2; echo "\${PIPESTATUS[0]}"`,
    ]);
    const [first = '', second = '', ended] = piped.out.split('\n');
    expect((JSON.parse(first) as Load).modules[0]?.module).toBe('talker');
    expect((JSON.parse(second) as Load).modules[0]?.module).toBe('talker');
    expect(ended).toBe('0');
  });

  it.each([
    [44, 8, 44],
    // a terminal that does not know its size
    [0, 0, 80],
  ])('draws on a terminal of %i by %i within its size, and gives it back at Ctrl-C', async (columns, rows, width) => {
    const command = `stty cols ${columns} rows ${rows}; exec ${MODHOST} top --interval 0.5`;
    const { code, out } = await shell('script', ['-qefc', command, '/dev/null'], {
      until: columns === 0 ? 'talker' : '\u001b[J',
      keys: '\u0003',
    });
    expect(code).toBe(0);
    const [before, after = ''] = out.split('\u001b[?1049h');
    expect(before).toBe('');
    expect(after.endsWith('\u001b[?25h\u001b[?1049l')).toBe(true);
    const drawn = after.replaceAll('\u001b[H', '\r\n').replace(CONTROLS, '').replaceAll('measuring …', '');
    for (const line of drawn.split(/\r\n/)) expect(line.length).toBeLessThanOrEqual(width);
    if (rows > 0) expect(drawn.split('\r\n').length).toBeLessThanOrEqual(DRAWN_AT_MOST * (rows + 1));
  });

  it('fits into any width, sorts the dearest first, and sets off what is near its budget', () => {
    const view = (columns: number): TopView => ({
      ...{ sort: 'calls', columns, stateName: () => 'RUNNING' },
      paint: (style, text) => (style === 'yellow' || style === 'red' ? `<${style} ${text.trim()}>` : text),
    });
    for (let columns = 1; columns <= 160; columns += 1) {
      for (const line of topLines(LOAD, { ...view(columns), paint: (_style, text) => text }))
        expect(line.length).toBeLessThanOrEqual(columns);
    }
    const lines = topLines(LOAD, view(Number.POSITIVE_INFINITY));
    const rows = lines.slice(lines.findIndex((line) => line.startsWith('MODULE')) + 1);
    expect(rows.map((line) => line.split(' ')[0])).toEqual(['busy', 'idle']);
    expect(rows[0]).toMatch(/<yellow 45 +90%>.*<red 600 MiB +117%>.*<yellow 850 +85%>/);
    expect(rows[1]).not.toContain('<');
    // the narrower, the less: name and processor are the last to go
    expect(topLines(LOAD, view(24)).find((line) => line.startsWith('MODULE'))).toMatch(/^MODULE +CPU$/);
  });

  it.each([['0.1'], ['61'], ['x']])('refuses an interval of %s', async (interval) => {
    expect((await ask('top', '--interval', interval)).code).toBe(2);
  });
});

describe('modhost status', () => {
  it('shows one module on one page, a broken one too', async () => {
    const { code, out } = await ask('status', 'talker');
    expect(code).toBe(0);
    expect(out).toMatch(/^talker\n {2}state +1\.0\.0 RUNNING, pid \d+, up /);
    for (const label of ['UNSIGNED', 'granted', 'queue chain', 'calls', 'uses', 'sandbox', 'health', 'step', 'offers'])
      expect(out).toMatch(new RegExp(`^ {2}${label} `, 'm'));
    expect(out).toMatch(/offers +commands: modhost cli talk$/m);
    expect(out.split('\n').length).toBeLessThanOrEqual(24);
    expect(await json('status', 'talker')).toMatchObject({ name: 'talker', command_set: 'talk', enabled: true });
    expect((await ask('status', 'broken')).out).toMatch(/state +FAILED, .*version/);
    expect(await ask('status', 'talkre')).toMatchObject({
      ...{ code: 1, err: 'modhost: MODULE_NOT_FOUND: no module talkre; did you mean talker?\n' },
    });
  });
});

describe('modhost enable and disable', () => {
  it('stop and start a module, and keep that', async () => {
    expect(await json('disable', 'talker')).toMatchObject({ module: { state: 'STOPPED', enabled: false } });
    expect((await ask('list')).out).toMatch(/^talker +1\.0\.0 +STOPPED .*disabled/m);
    expect((await ask('cli', 'talker', 'echo', 'x')).err).toMatch(/^modhost: MODULE_UNAVAILABLE: .*disabled/);
    expect(await json('enable', 'talker')).toMatchObject({ state: 'RUNNING', enabled: true });
    expect((await ask('disable', 'asleep')).out).toMatch(
      /^asleep 2\.0\.0 \w+, .*disabled: it is not started by itself$/m,
    );
    const audit = await ask('audit', 'talker', '--json');
    for (const message of ['disable', 'enable']) expect(audit.out).toContain(`"message":"${message}"`);
  });

  it('C169: answer a mistyped name with the nearest one', async () => {
    for (const command of ['enable', 'disable'])
      expect(await ask(command, 'talkre')).toMatchObject({
        code: 1,
        err: expect.stringContaining('did you mean talker?'),
      });
  });
});

describe('a host that does not answer, or goes', () => {
  it('is waited for as long as --timeout says', async () => {
    process.kill(rig.host.pid, 'SIGSTOP');
    try {
      expect(await ask('list', '--timeout', '1')).toMatchObject({
        ...{ code: 1, out: '', err: expect.stringMatching(/^modhost: DEADLINE_EXCEEDED: .*--timeout/) },
      });
      // completion is not worth a wait: it offers nothing
      expect(await ask('complete', '--', 'load', '')).toMatchObject({ code: 0, out: '', err: '' });
    } finally {
      process.kill(rig.host.pid, 'SIGCONT');
    }
    expect((await ask('complete', '--', 'load', 't')).out).toBe('talker\t\n');
  });

  it('ends what follows it without complaint, and with its last words', async () => {
    const commands = [['logs', '-f'], ['events'], ['audit', '-f'], ['top', '--json', '--interval', '0.5']];
    const following = commands.map((words) => follow(...words));
    const [logs, events, audit, load] = following;
    // each has said something, so each follows; older events are never told
    while (following.some(({ out }) => out() === '')) await ask('devchain', 'mine', '1');
    expect((await ask('stop')).code).toBe(0);
    for (const { ended } of following) expect(await ended).toBe(0);
    expect(logs?.out()).toMatch(/UNSIGNED/);
    expect(events?.out()).toMatch(/NewBlock.*NodeShutdown/s);
    expect(audit?.out()).toMatch(/OPERATOR stop/);
    expect(JSON.parse(load?.out().split('\n')[0] ?? '')).toMatchObject({ modules: [{ module: 'talker' }] });
    expect(await ask('top', '--once')).toMatchObject({ code: 3, out: '' });
    expect((await ask('complete', '--', 'load', '')).code).toBe(0);
  });
});
