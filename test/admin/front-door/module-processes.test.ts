import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleModule } from '../../host/bundle-module.js';
import { stubsToolchain } from '../../host/calls/call-host.js';
import { createSpawnedHost, type SpawnedHost, type SpawnedModule, until } from '../../host/spawned-host.js';
import { type BitcoindBench, createBitcoindBench } from '../../node/bitcoind-subject.js';
import { sandboxToolchain } from '../../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();
const { skip: skipStubs } = stubsToolchain();

/** Where setup puts Python's packages and stubs. */
const STUBS = fileURLToPath(new URL('../../../conformance/modules/python', import.meta.url));
const PYTHON = readFileSync(new URL('./modules/answerer.py', import.meta.url), 'utf8');
const execute = promisify(execFile);

/** One error of the front door. */
interface Failed {
  code: number;
  message: string;
  data?: unknown;
}

describe.skipIf(skip || skipStubs)('modules with processes of their own behind the front door, asked by curl', () => {
  let bench: BitcoindBench;
  let rig: SpawnedHost;
  let url: string;
  let cookie: string;

  beforeAll(async () => {
    bench = await createBitcoindBench({});
    const python = (wanted: string, overrides: readonly string[]): SpawnedModule => ({
      python: PYTHON,
      manifest: `capabilities = ["register_rpc_endpoint"]\nrpc_overrides = ${JSON.stringify(overrides)}\n`,
      env: { STUBS, WANTED: wanted },
    });
    rig = await createSpawnedHost(
      {
        // what no module may have, what its manifest does not name, and what it may have
        first: python('getblocktemplate estimatesmartfee sendrawtransaction stop analyzepsbt getdescriptorinfo', [
          ...['getblocktemplate', 'estimatesmartfee', 'sendrawtransaction', 'stop', 'getdescriptorinfo'],
        ]),
        other: python('analyzepsbt', ['analyzepsbt']),
        rival: {
          manifest: 'capabilities = ["register_rpc_endpoint"]\nrpc_overrides = ["getdescriptorinfo"]\n',
          command: ['node', '/module/rival.mjs'],
        },
        bare: {},
      },
      {
        rpc: { passthrough: ['getdescriptorinfo', 'getblockcount'] },
        node: bench.node,
        modules: { first: { extraReadOnly: [STUBS] }, other: { extraReadOnly: [STUBS] } },
      },
    );
    await bundleModule(new URL('./modules/rival.ts', import.meta.url), join(rig.modulesDir, 'rival', 'rival.mjs'));
    const { host } = await rig.host.control.status(new AbortController().signal);
    url = host?.rpcUrl ?? '';
    cookie = readFileSync(host?.rpcCookieFile ?? '', 'utf8');
    for (const name of ['first', 'other', 'bare']) await rig.host.load(name);
  }, 60_000);
  afterAll(async () => {
    await rig?.dispose();
    await bench?.dispose();
  });

  /** What curl prints: the status, and the body. */
  const curl = async (body: string): Promise<{ status: number; body: string }> => {
    const words = ['-sS', '--user', cookie, '-w', '%{http_code}', '--data-binary', body, url];
    const { stdout } = await execute('curl', words, { timeout: 30_000 });
    return { status: Number(stdout.slice(-3)), body: stdout.slice(0, -3).trimEnd() };
  };
  const call = async (method: string, params: unknown): Promise<{ result?: unknown; error?: Failed }> =>
    JSON.parse((await curl(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }))).body);
  const lines = (name: string): string[] => rig.lines(name).map(({ message }) => message);
  const atNode = (): number => bench.double.calls.get('getdescriptorinfo') ?? 0;

  describe('in the node’s place', () => {
    const ask = (word: string) => call('getdescriptorinfo', [word]);

    it('get what is allow-listed and named in the manifest, and nothing else, each refusal by its reason', async () => {
      await until('six answers', () => lines('first').filter((line) => /^(holds|refused)/.test(line)).length === 6);
      expect(lines('first').filter((line) => /^(holds|refused)/.test(line))).toEqual([
        ...['getblocktemplate', 'estimatesmartfee', 'sendrawtransaction', 'stop'].map(
          (method) => `refused ${method} RESERVED_NAME`,
        ),
        'refused analyzepsbt RESERVED_NAME',
        'holds getdescriptorinfo',
      ]);
      // what was refused is answered by nobody, and by the node where it is handed on
      expect((await call('getblocktemplate', [])).error?.code).toBe(-32601);
      expect((await call('getblockcount', [])).result).toBe(0);
    });

    it('are refused what another one holds', async () => {
      await rig.host.load('rival');
      await until('its answer', () => lines('rival').includes('refused getdescriptorinfo NAME_TAKEN'));
      expect((await ask('x')).result).toMatchObject({ by: 'first' });
    });

    it('answer in both dialects, digit for digit, and the node is not asked', async () => {
      const before = atNode();
      const params = '["wpkh(x)", 0.10000000, {"b":1, "a":12345678901234567890}]';
      const told = `{"by": "first", "method": "getdescriptorinfo", "core_override": true, "params": ${params}}`;
      expect(await curl(`{"id":"a","method":"getdescriptorinfo","params":${params}}`)).toEqual({
        status: 200,
        body: `{"result":${told},"error":null,"id":"a"}`,
      });
      expect(await curl(`{"jsonrpc":"2.0","id":7,"method":"getdescriptorinfo","params":${params}}`)).toEqual({
        status: 200,
        body: `{"jsonrpc":"2.0","result":${told},"id":7}`,
      });
      expect((await call('analyzepsbt', { psbt: 'x' })).result).toMatchObject({ by: 'other', params: { psbt: 'x' } });
      expect(atNode()).toBe(before);
      const { result } = await call('help', []);
      expect(result).toContain('== Answered in place of the node ==\nanalyzepsbt  by other: analyzepsbt as other');
      expect(result).toContain('== Handed on to the node ==\ngetblockcount');
    });

    it('refuse in their own words, and the node is not asked behind their back', async () => {
      const before = atNode();
      expect((await ask('refuse')).error).toEqual({ code: -32601, message: 'first says refuse' });
      expect((await ask('bad')).error).toEqual({ code: -32602, message: 'first says bad' });
      expect((await ask('fail')).error).toEqual({ code: -32603, message: 'first says fail' });
      expect((await ask('busy')).error).toMatchObject({
        code: -32000,
        data: { reason: 'MODULE_UNAVAILABLE', retry_after_ms: 77 },
      });
      const refused = '{"id":1,"method":"getdescriptorinfo","params":["refuse"]}';
      expect((await curl(refused)).status).toBe(404);
      expect((await curl(refused.replace('refuse', 'bad'))).status).toBe(500);
      expect(atNode()).toBe(before);
    });

    it('give it back to the node, which answers again; where it is not handed on, nobody does', async () => {
      const before = atNode();
      expect((await ask('give back')).result).toMatchObject({ by: 'first' });
      await ask('x');
      expect(atNode()).toBe(before + 1);
      expect((await call('analyzepsbt', ['give back'])).result).toMatchObject({ by: 'other' });
      expect((await call('analyzepsbt', [])).error).toMatchObject({
        code: -32601,
        message: expect.stringContaining('passthrough'),
      });
    });

    it('that die while they are asked: the caller is told when to try again, then the node answers, or the next module', async () => {
      await rig.host.reload('first');
      expect((await ask('x')).result).toMatchObject({ by: 'first' });
      const before = atNode();
      expect((await ask('die')).error).toMatchObject({ code: -32000, data: { reason: 'MODULE_UNAVAILABLE' } });
      const isBack = async (): Promise<boolean> => {
        await ask('x');
        return atNode() > before;
      };
      await expect.poll(isBack, { timeout: 20_000 }).toBe(true);
      await rig.host.reload('rival');
      expect((await ask('x')).result).toEqual({ by: 'rival', params: ['x'] });
      await rig.host.unload('rival');
      const handedOn = atNode();
      await ask('x');
      expect(atNode()).toBe(handedOn + 1);
    });
  });

  describe('their commands', () => {
    const run = (...params: unknown[]) => call('runmodulecli', params);

    beforeAll(() => rig.host.reload('first'));

    it('are described: of all modules by the names of their sets, of one by either name', async () => {
      const { result } = await call('getmoduleclispecs', []);
      expect(Object.keys(result as object)).toEqual(['first-words', 'other-words']);
      const one = (await call('getmoduleclispecs', { name: 'first' })).result as Record<string, unknown>;
      expect(Object.keys(one)).toEqual(['first-words']);
      expect(await call('getmoduleclispecs', ['first-words'])).toMatchObject({ result: one });
      expect(one['first-words']).toMatchObject({
        module: 'first',
        name: 'first-words',
        about: 'says what it is told',
        subcommands: expect.arrayContaining([
          {
            name: 'repeat',
            about: 'says words, more than once if need be',
            timeout_ms: 60_000,
            arguments: [
              {
                ...{ name: 'word', long_name: '', short_name: '', required: true, takes_value: true },
                ...{ default_value: '', about: 'what to say' },
              },
              {
                ...{ name: 'times', long_name: 'times', short_name: 'n', required: false, takes_value: true },
                ...{ default_value: '1', about: 'how often' },
              },
            ],
          },
        ]),
      });
      expect((await call('getmoduleclispecs', ['bare'])).result).toEqual({});
      expect((await call('getmoduleclispecs', ['nobody'])).error).toMatchObject({
        code: -5,
        data: { reason: 'MODULE_NOT_FOUND' },
      });
    });

    it('run by place and by name, with defaults; output and exit code are the module’s', async () => {
      const told = { stdout: 'a b\n', stderr: '2 words\n', exit_code: 0 };
      expect((await run('first', 'repeat', 'a', 'b')).result).toEqual(told);
      expect((await run('first-words', 'repeat', 'a', 'b')).result).toEqual(told);
      const named = { name: 'first', subcommand: 'repeat', args: ['a', 'b', '--times=2'] };
      expect((await call('runmodulecli', named)).result).toEqual({ ...told, stdout: 'a b\na b\n' });
      expect((await run('first', 'repeat', '-n', 3, 'x')).result).toMatchObject({ stdout: 'x\nx\nx\n' });
      expect((await run('first', 'end', 7)).result).toEqual({ stdout: '', stderr: 'it ends\n', exit_code: 7 });
      expect((await run('first', 'end', 0)).result).toMatchObject({ exit_code: 0 });
      // a result is JSON: bytes that are no text become the sign for it
      expect((await run('first', 'bytes')).result).toMatchObject({ stdout: '\0\ufffdé\n' });
    });

    it('get texts, numbers and switches as they were written, nobody’s terminal, and nothing else', async () => {
      const said = await curl(
        '{"id":1,"method":"runmodulecli","params":["first","args","", 1.50, 1e3, true, "é\\u0000\\n", 12345678901234567890]}',
      );
      const { stdout } = JSON.parse(said.body).result;
      expect(JSON.parse(stdout)).toEqual([['', '1.50', '1e3', 'true', 'é\0\n', '12345678901234567890'], false, 0]);
      for (const wrong of [[], {}, null]) {
        expect((await run('first', 'args', wrong)).error).toMatchObject({
          code: -32602,
          data: { reason: 'INVALID_REQUEST' },
        });
      }
    });

    it.each<[string, unknown, number, string]>([
      ['an unknown module', ['nobody', 'repeat', 'x'], -5, 'MODULE_NOT_FOUND'],
      ['a mistyped set', ['first-wrds', 'repeat', 'x'], -5, 'MODULE_NOT_FOUND'],
      ['a module without commands', ['bare', 'repeat', 'x'], -32601, 'METHOD_NOT_FOUND'],
      ['a module that does not run', ['rival', 'repeat', 'x'], -32000, 'MODULE_UNAVAILABLE'],
      ['an unknown command', ['first', 'repat', 'x'], -32601, 'METHOD_NOT_FOUND'],
      ['no module', [], -32602, 'INVALID_REQUEST'],
      ['no command', ['first'], -32602, 'INVALID_REQUEST'],
      ['a name that is a number', [7, 'repeat'], -32602, 'INVALID_REQUEST'],
      ['a command that is a list', ['first', ['repeat']], -32602, 'INVALID_REQUEST'],
      ['args that are no list', { name: 'first', subcommand: 'repeat', args: 'x' }, -32602, 'INVALID_REQUEST'],
      ['an unknown name', { name: 'first', subcommand: 'repeat', arg: ['x'] }, -32602, 'INVALID_REQUEST'],
      ['an argument too few', ['first', 'repeat'], -32602, 'INVALID_REQUEST'],
      ['an argument too many', ['first', 'bytes', 'x'], -32602, 'INVALID_REQUEST'],
      ['an unknown flag', ['first', 'repeat', '--tims', '2', 'x'], -32602, 'INVALID_REQUEST'],
      ['a flag without its value', ['first', 'repeat', 'x', '--times'], -32602, 'INVALID_REQUEST'],
      ['a value of the wrong type', ['first', 'repeat', '--times', 'often', 'x'], -32602, 'INVALID_REQUEST'],
      ['an exit code that is none', ['first', 'end', 256], -32603, 'INTERNAL'],
      ['a command that takes too long', ['first', 'late'], -32002, 'DEADLINE_EXCEEDED'],
    ])('are refused for %s', async (_what, params, code, reason) => {
      const { error } = await call('runmodulecli', params);
      expect(error).toMatchObject({ code, data: { reason } });
      const legacy = await curl(JSON.stringify({ id: 1, method: 'runmodulecli', params }));
      expect(legacy.status).toBe(code === -32601 ? 404 : 500);
    });

    it('that take too long are taken back in the module, which goes on', async () => {
      await until('the word of it', () => lines('first').some((line) => line.startsWith('cancelled ')));
      expect((await run('first', 'repeat', 'still there')).result).toMatchObject({ stdout: 'still there\n' });
    });

    it('end with their module, and are there again with it', async () => {
      expect((await run('first', 'die')).error).toMatchObject({ code: -32000, data: { reason: 'MODULE_UNAVAILABLE' } });
      expect((await run('first', 'repeat', 'x')).error).toMatchObject({ data: { reason: 'MODULE_UNAVAILABLE' } });
      // its stream is gone at once, its registrations with the session, once its end is known
      const sets = async (): Promise<string[]> => Object.keys((await call('getmoduleclispecs', [])).result as object);
      await expect.poll(sets, { timeout: 20_000 }).toEqual(['other-words']);
      await rig.host.reload('first');
      expect((await run('first', 'repeat', 'x')).result).toMatchObject({ exit_code: 0 });
    });
  });
});
