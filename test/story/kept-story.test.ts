import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Started } from '../cli/command-line.js';
import { goPresence } from '../go/build.js';
import { freePort } from '../interop/free-port.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { requireToolchain } from '../toolchain.js';
import { builtExamples } from './chain-story.js';
import { createKeptHost, type KeptHost, type Told } from './kept/kept-host.js';

const { skip } = await sandboxToolchain();
const missing = builtExamples().find((example) => example.missing !== undefined)?.missing;
const { skip: skipExamples } = requireToolchain(
  'the example modules',
  missing === undefined ? { available: true } : { available: false, reason: missing },
);
const { skip: skipGo } = requireToolchain('modules in Go', await goPresence());
const execute = promisify(execFile);

describe.skipIf(skip || skipExamples || skipGo)('what the host keeps, between two languages each time', () => {
  let rig: KeptHost;
  let host: Started;
  beforeAll(async () => {
    rig = await createKeptHost(await freePort());
    host = await rig.start();
  });
  afterAll(() => rig?.dispose());

  const call = (method: string, more: object = {}) =>
    rig.ask('kept-py', 'call', { target: 'kept-go', method, ...more });

  it('Python calls Go: who calls is stamped by the host, and the deadline shrinks on the way', async () => {
    const { gave } = await call('echo', { params: 'what is said', timeout_ms: 20_000, min_api_version: 2 });
    const { result } = gave as { result: string };
    const heard = JSON.parse(result) as { left_ms: number };
    expect(heard).toMatchObject({ params: 'what is said', caller: 'kept-py', version: '1.0.0', depth: 1 });
    expect(heard).toHaveProperty('granted', expect.arrayContaining(['call_module', 'publish_events']));
    expect(heard.left_ms).toBeGreaterThan(1_000);
    // gRPC for Python rounds a deadline up on its way out
    expect(heard.left_ms).toBeLessThanOrEqual(20_200);
  });

  it('Python calls Go: its failure is its own word, everything else a reason', async () => {
    expect((await call('fail')).gave).toEqual({ failure: { code: 7, message: 'no luck', invalid: false } });
    expect((await call('nothing')).reason).toBe('METHOD_NOT_FOUND');
    expect((await call('echo', { min_api_version: 3 })).reason).toBe('INCOMPATIBLE');
    expect((await rig.ask('kept-py', 'call', { target: 'kept-og', method: 'echo' })).reason).toBe('MODULE_NOT_FOUND');
  });

  it('Python calls Go: a deadline that passes and a call that is given up end the work in Go', async () => {
    const ended = (params: string) => (line: Told) => line.kind === 'given up' && line.params === params;
    expect((await call('wait', { params: 'late', timeout_ms: 500 })).reason).toBe('DEADLINE_EXCEEDED');
    await rig.tells('kept-go', 'the end of the late one', ended('late'));
    const { answer } = await rig.begin('kept-py', 'call', {
      target: 'kept-go',
      method: 'wait',
      params: 'long',
      give_up: true,
    });
    await rig.tells('kept-go', 'the long one', ({ kind, params }) => kind === 'waiting' && params === 'long');
    rig.put('kept-py', 'give-up', '');
    expect((await answer).reason).toBe('CANCELLED');
    expect(await rig.tells('kept-go', 'the end of the long one', ended('long'))).toMatchObject({
      why: 'context canceled',
    });
  });

  it('TypeScript discovers what Go offers', async () => {
    const { gave } = await rig.ask('kept-ts', 'discover');
    expect(gave).toContainEqual({ name: 'kept-go', apiVersion: 2, apiMethods: ['echo', 'fail', 'wait'] });
    expect((await rig.ask('kept-ts', 'available', { name: 'kept-go' })).gave).toBe(true);
    expect((await rig.ask('kept-ts', 'available', { name: 'nobody' })).gave).toBe(false);
  });

  it('TypeScript answers curl on the front door, digit for digit', async () => {
    const curl = async (body: string): Promise<string> => {
      const words = ['-s', '--user', rig.cookie(), '--data-binary', body, rig.rpcUrl];
      return (await execute('curl', words)).stdout;
    };
    const params = '[0.10000000, 20999999.97690000, {"b":1,"a":2}]';
    const answer = await curl(`{"jsonrpc":"2.0","id":"one","method":"kept_echo","params":${params}}`);
    expect(answer).toContain(`"result":{"method":"kept_echo","params":${params}}`);
    expect(JSON.parse(answer)).toMatchObject({ jsonrpc: '2.0', id: 'one' });
    const failed = await curl('{"jsonrpc":"2.0","id":2,"method":"kept_fail"}');
    expect(JSON.parse(failed)).toMatchObject({ id: 2, error: { code: -32_050, message: 'no luck' } });
    expect(JSON.parse(await curl('{"id":3,"method":"help"}'))).toHaveProperty(
      'result',
      expect.stringContaining('kept_echo'),
    );
  });

  it('Python runs a command of the command line', async () => {
    expect(await rig.modhost('cli', 'kept-py', 'greet', 'you there')).toEqual({
      code: 0,
      out: 'hello you there\n',
      err: '',
    });
    expect((await rig.modhost('cli', 'kept-py', 'greet', '--loud', 'you')).out).toBe('HELLO YOU\n');
    expect(await rig.modhost('cli', 'kept-py', 'break')).toMatchObject({ code: 3, out: '', err: 'out of order\n' });
    expect((await rig.modhost('cli', 'kept-py', 'greet')).code).not.toBe(0);
  });

  it('Go reports numbers: at /metrics for Prometheus, and for Python', async () => {
    await rig.tells('kept-go', 'ticks', ({ kind, n }) => kind === 'counted' && Number(n) >= 2);
    const text = await (await fetch(`${rig.rpcUrl}metrics`)).text();
    expect(text).toMatch(/^modhost_module_ticks_total\{.*module="kept-go".*\} [1-9]/m);
    expect(text).toContain('story="kept \\"quoted\\""');
    const { gave } = await rig.ask('kept-py', 'all_metrics');
    const ticks = {
      module: 'kept-go',
      name: 'ticks_total',
      labels: { story: 'kept "quoted"' },
      value: expect.any(Number),
    };
    expect(gave).toContainEqual(ticks);
  });

  it('C103 C104: Python publishes its own topic for TypeScript, the lies about it are overwritten, other names are refused', async () => {
    const begin = Date.now() - 1_000;
    const { gave } = await rig.ask('kept-py', 'publish', { topic: 'kept-py.news', body: 'extra' });
    expect(gave).toMatchObject({ subscribers: 1 });
    const heard = await rig.tells('kept-ts', 'the news', ({ kind }) => kind === 'heard');
    expect(heard).toMatchObject({ topic: 'kept-py.news', body: 'extra', source: 'kept-py' });
    expect(Number(heard.at)).toBeGreaterThan(begin);
    for (const topic of ['kept-go.news', 'news', 'kept-pynews']) {
      expect((await rig.ask('kept-py', 'publish', { topic, body: '' })).reason, topic).toMatch(
        /^(EVENT_RESERVED|INVALID_REQUEST)$/,
      );
    }
    for (const which of ['new_block', 'module_crashed']) {
      expect((await rig.ask('kept-py', 'publish_reserved', { which })).reason, which).toBe('EVENT_RESERVED');
    }
    expect(rig.told('kept-ts').filter(({ kind }) => kind === 'heard')).toHaveLength(1);
  });

  it('Go writes a file by the host and reads it itself; Python writes one itself and reads it by the host', async () => {
    const text = 'both ways \u20bf\n'.repeat(1_000);
    expect((await rig.ask('kept-go', 'write', { path: 'page', text })).gave).toBe(text);
    await rig.ask('kept-py', 'write_own', { path: 'page', text });
    expect((await rig.ask('kept-py', 'read_file', { path: 'page' })).gave).toBe(text);
    expect((await rig.ask('kept-go', 'write', { path: '../kept-py/page', text })).reason).toBe('PATH_ESCAPE');
    expect((await rig.ask('kept-py', 'read_file', { path: 'nothing' })).reason).toBe('NOT_FOUND');
  });

  it('C153: a changed configuration reaches Python and Go while they run; who refuses it keeps the old one', async () => {
    const configOf = (name: 'kept-go' | 'kept-py') =>
      rig
        .told(name)
        .filter(({ kind }) => kind === 'config')
        .at(-1);
    rig.configure({ 'kept-go': 'servus', 'kept-py': 'moin', 'kept-ts': 'hello' });
    expect((await rig.modhost('config apply')).code).toBe(0);
    expect(configOf('kept-go')).toMatchObject({ config: { greeting: 'servus' }, changed: ['greeting'] });
    expect(configOf('kept-py')).toMatchObject({ config: { greeting: 'moin' }, changed: ['greeting'] });
    rig.configure({ 'kept-go': 'refuse me', 'kept-py': 'refuse me', 'kept-ts': 'hello' });
    const refused = await rig.modhost('config apply');
    expect(refused.code).not.toBe(0);
    expect(refused.out + refused.err).toContain('kept-go');
    for (const name of ['kept-go', 'kept-py'] as const)
      expect(configOf(name)?.config).not.toEqual({ greeting: 'refuse me' });
    rig.configure({ 'kept-go': 'servus', 'kept-py': 'moin', 'kept-ts': 'hello' });
    expect((await rig.modhost('config apply')).code).toBe(0);
  });

  it('Python answers the Lightning service for Go', async () => {
    const answer = await rig.ask('kept-go', 'lightning');
    expect(answer).toMatchObject({ gave: { channels: 3, sats: 21_000_000, url: `${'02'.repeat(33)}@127.0.0.1:9735` } });
  });

  it('TypeScript schedules tasks: each comes once with its payload, one taken back never', async () => {
    const { gave: later } = await rig.ask('kept-ts', 'schedule', { delayMs: 3_600_000, payload: 'never' });
    const { gave: soon } = await rig.ask('kept-ts', 'schedule', { delayMs: 50, payload: 'soon \u20bf' });
    const came = await rig.tells('kept-ts', 'the task', ({ kind }) => kind === 'task');
    expect(came).toEqual({ kind: 'task', id: soon, name: 'story', payload: 'soon \u20bf' });
    expect((await rig.ask('kept-ts', 'tasks')).gave).toEqual([later]);
    expect((await rig.ask('kept-ts', 'cancel', { taskId: later })).gave).toBeDefined();
    expect((await rig.ask('kept-ts', 'cancel', { taskId: later })).reason).toBe('NOT_FOUND');
    expect((await rig.ask('kept-ts', 'tasks')).gave).toEqual([]);
    expect(rig.told('kept-ts').filter(({ kind }) => kind === 'task')).toHaveLength(1);
  });

  it('Go’s timer writes its storage: after kill -9 of the host the count goes on behind the last acknowledged one', async () => {
    const counted = (): Told[] => rig.told('kept-go').filter(({ kind }) => kind === 'counted');
    const before = counted().length;
    await rig.tells('kept-go', 'further ticks', ({ kind, n }) => kind === 'counted' && Number(n) >= before + 5);
    host.kill('SIGKILL');
    await host.ended;
    host = await rig.start();
    const { instance } = counted().at(-1) ?? {};
    await rig.tells(
      'kept-go',
      'ticks of the next spawn',
      (line) => line.kind === 'counted' && line.instance !== instance,
    );
    const counts = counted().map(({ n }) => Number(n));
    // one may have been stored whose answer did not arrive any more
    for (const [index, n] of counts.entries()) expect([1, 2], `${index}: ${n}`).toContain(n - (counts[index - 1] ?? 0));
    expect(counts.filter((n, index) => n - (counts[index - 1] ?? 0) === 2).length).toBeLessThanOrEqual(1);
    expect(rig.told('kept-go').filter(({ kind }) => kind === 'failed')).toEqual([]);
    host.kill('SIGTERM');
    expect((await host.ended).code).toBe(0);
  });
});
