import { afterEach, describe, expect, it } from 'vitest';
import { RunMode } from '../../gen/ts/modhost/admin/v1/status.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { createSpawnedHost, reason, type SpawnedHost, type SpawnedModule, until } from './spawned-host.js';

const { skip } = await sandboxToolchain();

describe.skipIf(skip)('the life of a module with a process of its own', () => {
  let rig: SpawnedHost | undefined;
  const open = async (modules: Record<string, SpawnedModule>, more?: Parameters<typeof createSpawnedHost>[1]) => {
    rig = await createSpawnedHost(modules, more);
    return rig;
  };
  afterEach(async () => {
    await rig?.dispose();
    rig = undefined;
  });

  it('goes from found to loaded in the founding document’s order, announced once, and back to nothing', async () => {
    const { host, told, spawnDirectories, lines } = await open({ alpha: {} });
    const status = await host.load('alpha');
    expect(status).toMatchObject({
      state: ModuleState.RUNNING,
      restarts: 0,
      unsigned: true,
      runMode: RunMode.SPAWN,
      lastError: undefined,
    });
    expect(status.pid).toBeGreaterThan(1);
    expect(status.containment.length).toBeGreaterThan(0);
    expect(spawnDirectories()).toHaveLength(1);
    await until('the module has its answers', () =>
      lines('alpha').some(({ message }) => message.startsWith('ready: 0')),
    );
    expect(await host.unload('alpha')).toEqual([]);
    expect(host.list()[0]).toMatchObject({ state: ModuleState.STOPPED, pid: 0, instanceId: '', recentCrashes: 0 });
    expect(told('alpha')).toEqual([
      'moduleDiscovered alpha',
      'moduleStateChanged alpha VERIFIED',
      'moduleStateChanged alpha STARTING',
      'moduleStarted alpha',
      'moduleStateChanged alpha RUNNING',
      'moduleLoaded alpha',
      'moduleStateChanged alpha STOPPING',
      'moduleStopped alpha',
      'moduleUnloaded alpha',
      'moduleStateChanged alpha STOPPED',
    ]);
    expect(lines('alpha').map(({ message }) => message)).toContain('heard SIGTERM');
    expect(spawnDirectories()).toEqual([]);
    expect(() => process.kill(status.pid, 0)).toThrow();
  });

  for (const [row, steps, exitCode, signal] of [
    ['C139: exit 1', 'exit:1', 1, ''],
    ['C139: SIGKILL', 'signal:SIGKILL', 0, 'SIGKILL'],
    ['C139: SIGSEGV', 'signal:SIGSEGV', 0, 'SIGSEGV'],
  ] as const) {
    it(`${row} of a loaded module is a crash with its true cause, told once`, async () => {
      const { host, told, heard, spawnDirectories } = await open({
        alpha: { behaviour: `handshake ready wait:300 ${steps}` },
      });
      await host.load('alpha');
      await until('the crash', () => told('alpha').at(-1) === 'moduleStateChanged alpha BACKOFF');
      expect(told('alpha').slice(-5)).toEqual([
        'moduleLoaded alpha',
        'moduleStateChanged alpha CRASHED',
        'moduleCrashed alpha',
        'moduleUnloaded alpha',
        'moduleStateChanged alpha BACKOFF',
      ]);
      const crash = heard.find(({ event }) => event.payload?.$case === 'moduleCrashed');
      expect(crash?.event.payload?.value).toMatchObject({ exitCode, signal, version: '1.0.0' });
      expect(host.list()[0]).toMatchObject({ state: ModuleState.BACKOFF, pid: 0, recentCrashes: 1 });
      expect(spawnDirectories()).toEqual([]);
      // and it can be loaded again at once
      expect((await host.load('alpha')).restarts).toBe(1);
    });
  }

  it('C139: exit 0 of a loaded module is an end without failure: told as a stop, and not answered by a restart', async () => {
    const { host, told } = await open({ alpha: { behaviour: 'handshake ready wait:300 exit:0' } });
    await host.load('alpha');
    await until('the end', () => told('alpha').at(-1) === 'moduleStateChanged alpha STOPPED');
    expect(told('alpha').slice(-4)).toEqual([
      'moduleLoaded alpha',
      'moduleStopped alpha',
      'moduleUnloaded alpha',
      'moduleStateChanged alpha STOPPED',
    ]);
    const reasonTold = expect.stringContaining('by itself with code 0');
    expect(host.list()[0]).toMatchObject({
      recentCrashes: 0,
      restartInMs: 0,
      lastError: undefined,
      reason: reasonTold,
    });
    expect((await host.load('alpha')).restarts).toBe(1);
  });

  it('C089: a child of the module that holds the inherited connection ends with it', async () => {
    const python = `
import os, socket, time
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["MODHOST_SOCKET"]); os.set_inheritable(s.fileno(), True)
if os.fork() == 0:
    os.setsid()
    print("child lives", flush=True)
    time.sleep(600)
time.sleep(0.5)
os._exit(3)
`;
    const { host, lines, spawnDirectories, told } = await open({ alpha: { python } });
    expect(await reason(host.load('alpha'))).toBe('MODULE_CRASHED');
    expect(lines('alpha').map(({ message }) => message)).toContain('child lives');
    expect(spawnDirectories()).toEqual([]);
    expect(told('alpha')).not.toContain('moduleLoaded alpha');
  });

  it('C139: a program that ends before Ready fails the load with its last words, in one line of the log', async () => {
    const { host, lines, told } = await open({
      alpha: { python: 'import sys\nprint("no chain here", file=sys.stderr)\nsys.exit(7)\n' },
    });
    const error = await host.load('alpha').catch((thrown: unknown) => thrown as { reason: string; message: string });
    expect(error).toMatchObject({ reason: 'MODULE_CRASHED', details: { code: 7 } });
    expect((error as { message: string }).message).toContain('no chain here');
    expect(host.list()[0]).toMatchObject({ state: ModuleState.BACKOFF });
    expect(told('alpha').slice(-3)).toEqual([
      'moduleStateChanged alpha CRASHED',
      'moduleCrashed alpha',
      'moduleStateChanged alpha BACKOFF',
    ]);
    const errors = lines('alpha').filter(({ message }) => message.includes('exited with code 7'));
    expect(errors).toHaveLength(1);
  });

  it('C139: exec format error, missing interpreter and missing program each have a reason of their own', async () => {
    const { host, spawnDirectories } = await open({
      garbled: { executable: '\u0001\u0002 no program' },
      loader: { executable: '#!/no/such/interpreter\n' },
      gone: { manifest: 'entry_point = "nowhere"', executable: 'x' },
      alien: { command: ['perl6', '/module/main'] },
    });
    expect(await reason(host.load('garbled'))).toBe('START_FAILED');
    expect(await reason(host.load('loader'))).toBe('START_FAILED');
    expect(await reason(host.load('gone'))).toBe('BAD_ENTRY_POINT');
    expect(await reason(host.load('alien'))).toBe('INTERPRETER_MISSING');
    expect(host.list().every(({ state }) => state === ModuleState.FAILED)).toBe(true);
    expect(spawnDirectories()).toEqual([]);
  });

  it('C086: a module that never gets Ready is ended, and Starting gives it more time', async () => {
    const limits = 'limits = { start_timeout_ms = 2000 }';
    const { host, lines, spawnDirectories } = await open({
      silent: { behaviour: 'hold', manifest: limits },
      shy: { behaviour: 'handshake', manifest: limits },
      slow: {
        // room for a busy machine between two calls, and longer in all than one of them gives
        behaviour: `handshake ${'starting wait:1300 '.repeat(4)}ready`,
        manifest: 'limits = { start_timeout_ms = 4000 }',
      },
    });
    const [silent, shy, slow] = await Promise.all(['silent', 'shy', 'slow'].map((name) => reason(host.load(name))));
    expect([silent, shy, slow]).toEqual(['STARTUP_TIMEOUT', 'STARTUP_TIMEOUT', 'OK']);
    await until('the answers', () => lines('slow').some(({ message }) => message === 'ready: 0'));
    expect(host.list().find(({ name }) => name === 'shy')).toMatchObject({
      state: ModuleState.BACKOFF,
      lastError: { message: expect.stringContaining('shy') },
    });
    expect(spawnDirectories()).toHaveLength(1);
  });

  it('C140: a module that ignores SIGTERM is killed after its grace', async () => {
    const { host, lines, told } = await open({
      alpha: { env: { STUBBORN: 'yes' }, manifest: 'limits = { stop_timeout_ms = 400 }' },
    });
    const { pid } = await host.load('alpha');
    await host.unload('alpha');
    expect(lines('alpha').map(({ message }) => message)).toContain('heard SIGTERM');
    expect(() => process.kill(pid, 0)).toThrow();
    expect(told('alpha')).not.toContain('moduleCrashed alpha');
  });

  it('C140: a module that stands still under SIGSTOP is killed after its grace', async () => {
    const { host } = await open({ alpha: { manifest: 'limits = { stop_timeout_ms = 400 }' } });
    const { pid } = await host.load('alpha');
    process.kill(pid, 'SIGSTOP');
    await host.unload('alpha');
    expect(() => process.kill(pid, 0)).toThrow();
    expect(host.list()[0]).toMatchObject({ state: ModuleState.STOPPED });
  });

  it('C110: reload starts what lies on disk now, as another instance of the module', async () => {
    const { host, told, write, heard } = await open({ alpha: {} });
    const first = await host.load('alpha');
    write('alpha', { version: '1.1.0' });
    // until then the status tells what runs
    await host.autoLoad();
    expect(host.list()[0]).toMatchObject({ version: '1.0.0' });
    const second = await host.reload('alpha');
    expect(second).toMatchObject({ version: '1.1.0', restarts: 1, state: ModuleState.RUNNING });
    expect(second.instanceId).not.toBe(first.instanceId);
    const unloaded = heard.find(({ event }) => event.payload?.$case === 'moduleUnloaded');
    expect(unloaded?.event.payload?.value).toMatchObject({ version: '1.0.0', instanceId: first.instanceId });
    expect(told('alpha').slice(-1)).toEqual(['moduleReloaded alpha']);
  });

  it('C153: a reload to a broken manifest leaves the old one running', async () => {
    const { host, told, write } = await open({ alpha: {} });
    const { pid } = await host.load('alpha');
    write('alpha', { manifest: 'nonsense = 1' });
    expect(await reason(host.reload('alpha'))).toBe('UNKNOWN_FIELD');
    expect(host.list()[0]).toMatchObject({ state: ModuleState.RUNNING, pid });
    expect(told('alpha')).not.toContain('moduleUnloaded alpha');
  });

  it('C168: what runs unsigned is shown in status and log, and nothing runs unsigned by itself', async () => {
    const { host, lines } = await open({ alpha: {}, beta: {} }, { allowUnsigned: ['alpha'] });
    const outcomes = await host.autoLoad();
    expect(outcomes.map(({ name, error }) => [name, error?.reason])).toEqual([
      ['alpha', undefined],
      ['beta', 'UNSIGNED'],
    ]);
    const status = await host.control.status(AbortSignal.timeout(5_000));
    expect(status.host?.warnings.map(({ code, module }) => `${code} ${module}`)).toContain('unsigned_module alpha');
    expect(lines('alpha').some(({ message }) => message.includes('UNSIGNED'))).toBe(true);
    expect(host.list().map(({ unsigned }) => unsigned)).toEqual([true, false]);
  });
});
