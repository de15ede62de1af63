import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { ModuleHealthLabel } from '../../gen/ts/modhost/event/v1/module.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { createObedientHost, type ObedientHost, obedient, processesWith } from './obedient.js';
import { reason, STATES, until } from './spawned-host.js';

const { skip } = await sandboxToolchain();

/** Waits so short that a test sees several; each is all of it, without chance. */
const QUICK = { restartTimes: { firstMs: 100, maxMs: 400, jitter: 0 } };

describe.skipIf(skip)('supervision', () => {
  let rig: ObedientHost | undefined;
  const open = async (...given: Parameters<typeof createObedientHost>) => {
    rig = await createObedientHost(...given);
    return rig;
  };
  afterEach(async () => {
    await rig?.dispose();
    rig = undefined;
  });
  const count = (text: string): number => rig?.told().filter((told) => told === text).length ?? 0;
  const steps = (module: string): string[] => (rig?.status(module).history ?? []).map(({ to }) => String(STATES[to]));

  it('C142: a crash loop waits twice as long each time and ends in quarantine, which a load releases', async () => {
    const { host, atStart, reaches, status, told } = await open(
      { alpha: obedient('restart = { max_crashes = 4, window_s = 600 }\n') },
      QUICK,
    );
    atStart('alpha', 'exit 3');
    // the load tells the first attempt; what follows goes on without it
    expect(await reason(host.load('alpha'))).toBe('MODULE_CRASHED');
    await reaches('alpha', 'QUARANTINED');
    expect(count('moduleCrashed alpha')).toBe(4);
    expect(count('moduleStarted alpha')).toBe(4);
    const waits = status('alpha').history.flatMap(({ to, reason: why }) =>
      STATES[to] === 'BACKOFF' ? [/after ([0-9.]+) s/.exec(why)?.[1]] : [],
    );
    expect(waits).toEqual(['0.1', '0.2', '0.4']);
    expect(status('alpha')).toMatchObject({ recentCrashes: 4, restarts: 3, pid: 0, restartInMs: 0 });
    expect(status('alpha').lastError).toMatchObject({ reason: ErrorReason.MODULE_CRASHED });
    expect(status('alpha').recentErrors).toEqual([{ reason: ErrorReason.MODULE_CRASHED, count: 4 }]);
    // held means held, for a second round of autoLoad too
    expect((await host.autoLoad()).map(({ error }) => error?.reason)).toEqual(['QUARANTINED']);
    await sleep(600);
    expect(count('moduleStarted alpha')).toBe(4);
    atStart('alpha');
    await host.load('alpha');
    expect(status('alpha')).toMatchObject({ recentCrashes: 0, reason: 'ready' });
    expect(told('alpha').at(-1)).toBe('moduleLoaded alpha');
  });

  it('keeps the last 32 steps of a module, with their reasons', async () => {
    const { host, atStart, reaches, status } = await open(
      { alpha: obedient('restart = { max_crashes = 9 }\n') },
      { restartTimes: { firstMs: 10, maxMs: 10 } },
    );
    atStart('alpha', 'exit 3');
    await host.load('alpha').catch(() => {});
    await reaches('alpha', 'QUARANTINED');
    const { history } = status('alpha');
    expect(history).toHaveLength(32);
    expect(steps('alpha').slice(-5)).toEqual(['BACKOFF', 'VERIFIED', 'STARTING', 'CRASHED', 'QUARANTINED']);
    expect(history.every(({ reason: why, timeUnixMs }) => why !== '' && timeUnixMs > 0n)).toBe(true);
    expect(history.every(({ from }, i) => i === 0 || from === history[i - 1]?.to)).toBe(true);
  });

  it('answers each end of a loaded module as its policy says, and tells a crash from an end without failure', async () => {
    const cases = [
      { name: 'never-3', policy: 'never', order: 'exit 3', end: 'STOPPED' },
      { name: 'never-0', policy: 'never', order: 'exit 0', end: 'STOPPED' },
      { name: 'failure-0', policy: 'on-failure', order: 'exit 0', end: 'STOPPED' },
      { name: 'failure-3', policy: 'on-failure', order: 'exit 3', end: 'BACKOFF' },
      { name: 'always-0', policy: 'always', order: 'exit 0', end: 'BACKOFF' },
      { name: 'always-term', policy: 'always', order: 'signal SIGTERM', end: 'BACKOFF' },
    ];
    const modules = cases.map(({ name, policy }) => [name, obedient(`restart = { policy = "${policy}" }\n`)] as const);
    const { host, order: tell, status, reaches } = await open(Object.fromEntries(modules), QUICK);
    await host.autoLoad();
    const outcome = async ({ name, order, end }: (typeof cases)[number]) => {
      tell(name, order);
      await until(`the end of ${name}`, () => count(`moduleUnloaded ${name}`) === 1 && steps(name).includes(end));
      if (end === 'BACKOFF') await reaches(name, 'RUNNING');
      else await sleep(400);
      const { restarts, recentCrashes, lastError } = status(name);
      const told = [count(`moduleCrashed ${name}`), count(`moduleStopped ${name}`)];
      return [name, rig?.state(name), ...told, restarts, recentCrashes, lastError !== undefined];
    };
    // crashed, stopped, restarts, recent crashes, and whether there is an error to show
    expect(await Promise.all(cases.map(outcome))).toEqual([
      ['never-3', 'STOPPED', 1, 0, 0, 1, true],
      ['never-0', 'STOPPED', 0, 1, 0, 0, false],
      ['failure-0', 'STOPPED', 0, 1, 0, 0, false],
      ['failure-3', 'RUNNING', 1, 0, 1, 1, true],
      ['always-0', 'RUNNING', 0, 1, 1, 1, false],
      ['always-term', 'RUNNING', 1, 0, 1, 1, true],
    ]);
    expect((await host.load('never-3')).restarts).toBe(1);
  });

  it('a program that fails before Ready under policy never has failed', async () => {
    const { host, atStart, state } = await open({ alpha: obedient('restart = { policy = "never" }\n') }, QUICK);
    atStart('alpha', 'exit 0');
    expect(await reason(host.load('alpha'))).toBe('MODULE_CRASHED');
    expect(state('alpha')).toBe('FAILED');
    expect(count('moduleCrashed alpha')).toBe(1);
  });

  it('C140: hung modules are found by what they do not answer, killed with their children, and started again', async () => {
    // under SIGSTOP, in a busy loop, asleep with a live connection
    const orders = ['stop', 'spin', 'deaf'];
    const marker = (name: string): string => `hung-${process.pid}-${name}`;
    const modules = orders.map((name) => [name, obedient('', { MARKER: marker(name) })] as const);
    const { host, order: tell, status, reaches, heard } = await open(Object.fromEntries(modules), QUICK);
    await host.autoLoad();
    const trial = async (name: string) => {
      const { instanceId } = status(name);
      const usual = processesWith('MARKER', marker(name)).length;
      tell(name, 'brood', name);
      await until(`the end of ${name}`, () => count(`moduleCrashed ${name}`) === 1);
      await reaches(name, 'RUNNING');
      expect(steps(name).slice(-7)).toEqual([
        ...['RUNNING', 'DEGRADED', 'CRASHED', 'BACKOFF', 'VERIFIED', 'STARTING', 'RUNNING'],
      ]);
      expect(status(name).lastError).toMatchObject({ reason: ErrorReason.MODULE_HUNG });
      expect(status(name).recentErrors).toContainEqual({ reason: ErrorReason.DEADLINE_EXCEEDED, count: 3 });
      const labels = heard.flatMap(({ event: { payload } }) =>
        payload?.$case === 'moduleHealthChanged' && payload.value.instanceId === instanceId
          ? [payload.value.newHealth]
          : [],
      );
      expect(labels.slice(-2)).toEqual([ModuleHealthLabel.DEGRADED, ModuleHealthLabel.UNHEALTHY]);
      // of the first spawn nothing is left, whatever session its children had moved to
      expect(processesWith('MARKER', marker(name))).toHaveLength(usual);
    };
    await Promise.all(orders.map(trial));
  });

  it('leaves a module the grace of its stop, though it answers nothing meanwhile', async () => {
    const { host, order: tell } = await open({ alpha: obedient('limits = { stop_timeout_ms = 3000 }\n') });
    await host.load('alpha');
    tell('alpha', 'stubborn', 'deaf');
    await sleep(100);
    const startMs = performance.now();
    await host.unload('alpha');
    expect(performance.now() - startMs).toBeGreaterThan(2_900);
    expect(count('moduleCrashed alpha')).toBe(0);
  });

  it('is not judged before its first Ready: a start that stands still ends by its own deadline', async () => {
    const { host, atStart, status } = await open(
      { alpha: obedient('limits = { start_timeout_ms = 2500 }\n') },
      { restartTimes: { firstMs: 60_000 } },
    );
    atStart('alpha', 'hold');
    const loading = reason(host.load('alpha'));
    await sleep(2_000);
    // three checks would have been missed twice over
    expect(status('alpha')).toMatchObject({ missedProbes: 0, recentCrashes: 0 });
    expect(await loading).toBe('STARTUP_TIMEOUT');
    expect(steps('alpha').slice(-2)).toEqual(['CRASHED', 'BACKOFF']);
  });

  it('C164: a host that stands still for seconds finds its modules alive', async () => {
    const { host, status, lines } = await open({ alpha: obedient(), beta: obedient() }, QUICK);
    await Promise.all([host.load('alpha'), host.load('beta')]);
    for (let i = 0; i < 3; i++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_500);
      await sleep(150);
    }
    await sleep(1_000);
    for (const name of ['alpha', 'beta']) {
      expect(status(name)).toMatchObject({ restarts: 0, recentCrashes: 0, missedProbes: 0, responsive: true });
      expect(lines(name).filter(({ message }) => message.includes('missed'))).toEqual([]);
    }
  });

  it('C151: in the wait for a restart, a load starts at once, an unload ends the wait, a reload starts anew', async () => {
    const { host, order, reaches, state, status, write } = await open({ alpha: obedient() });
    await host.load('alpha');
    order('alpha', 'exit 3');
    await reaches('alpha', 'BACKOFF');
    expect(status('alpha').restartInMs).toBeGreaterThan(10_000);
    await host.load('alpha');
    expect(status('alpha')).toMatchObject({ restarts: 1, recentCrashes: 0 });
    order('alpha', 'exit 3');
    await reaches('alpha', 'BACKOFF');
    await host.unload('alpha');
    expect(status('alpha')).toMatchObject({ restartInMs: 0 });
    expect(state('alpha')).toBe('STOPPED');
    await host.load('alpha');
    order('alpha', 'exit 3');
    await reaches('alpha', 'BACKOFF');
    write('alpha', { ...obedient(), version: '1.1.0' });
    expect(await host.reload('alpha')).toMatchObject({ version: '1.1.0', recentCrashes: 0 });
    expect(count('moduleCrashed alpha')).toBe(3);
  });

  it('a host that stops starts nothing more, whatever was waiting', async () => {
    const { host, order, reaches, state } = await open(
      {
        alpha: obedient(),
        beta: obedient('[dependencies]\ngamma = ">=1.0.0"\n'),
      },
      { restartTimes: { firstMs: 300, maxMs: 300, jitter: 0 } },
    );
    await host.load('alpha');
    expect(await reason(host.load('beta'))).toBe('DEPENDENCY_MISSING');
    order('alpha', 'exit 3');
    await reaches('alpha', 'BACKOFF');
    expect(state('beta')).toBe('BACKOFF');
    await host.stop();
    await sleep(500);
    expect(count('moduleStarted alpha')).toBe(1);
    expect(rig?.told('alpha').at(-1)).toBe('moduleStateChanged alpha STOPPED');
  });
});
