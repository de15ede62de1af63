import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { createSdkRig, type SdkRig } from './sdk-rig.js';

const rigs: SdkRig[] = [];
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const rig of rigs.splice(0)) await rig.dispose();
});

/** Starts the subject with nothing but the given environment, as a host does. */
function start(task: string, env: Record<string, string>) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/sdk/run-subject.ts', task], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  const exited = once(child, 'exit').then(([code]) => ({ code: code as number | null, stderr }));
  return { child, exited };
}

async function running(task: string) {
  const rig = await createSdkRig();
  rigs.push(rig);
  const started = start(task, rig.env);
  await expect.poll(() => rig.life.readies, { timeout: 20_000 }).toBe(1);
  return { rig, ...started };
}

describe('runModule', () => {
  it('ends with code 64 and a hint for a person', async () => {
    const { code, stderr } = await start('return', {}).exited;
    expect(code).toBe(64);
    expect(stderr).toContain('NOT_STARTED_BY_HOST');
    expect(stderr).toContain('modhost run');
  });

  it('ends with code 0 when main returns, and hands over the log first', async () => {
    const { rig, exited } = await running('return');
    expect((await exited).code).toBe(0);
    expect(rig.lines.map(({ message }) => message)).toEqual(['running']);
  });

  it('ends with code 1 and the cause when main throws', async () => {
    const { exited } = await running('fail');
    const { code, stderr } = await exited;
    expect(code).toBe(1);
    expect(stderr).toContain('a defect of the module');
    expect(stderr).toContain('run-subject');
  });

  it('ends with code 0 at SIGTERM, at the end of the session, and when main does not listen', async () => {
    const asked = await running('follow');
    asked.child.kill('SIGTERM');
    expect((await asked.exited).code).toBe(0);

    const closed = await running('follow');
    closed.rig.life.session.close(new HostError('SESSION_CLOSED', 'unloaded'));
    expect((await closed.exited).code).toBe(0);

    const deaf = await running('hang');
    deaf.child.kill('SIGTERM');
    expect((await deaf.exited).code).toBe(0);
  });

  it('answers health by its handler, and the wish to stop when main has returned; then it ends with code 0', async () => {
    const { rig, exited } = await running('answer');
    const { invocations } = rig.life.session;
    await expect.poll(() => invocations.serving()).toBe(true);
    expect(await invocations.ask({ $case: 'health', value: {} }, { timeoutMs: 10_000 })).toMatchObject({
      $case: 'health',
      value: { report: { message: 'of the test' } },
    });
    const wish = { $case: 'stop', value: { reason: StopReason.RELOAD, graceMs: 10_000 } } as const;
    expect(await invocations.ask(wish, { timeoutMs: 10_000, urgent: true })).toMatchObject({ $case: 'done' });
    const { code, stderr } = await exited;
    expect({ code, stderr }).toEqual({ code: 0, stderr: `stop ${StopReason.RELOAD}\n` });
  });

  it('ends within the grace when main does not listen to the wish to stop', async () => {
    const { rig, exited } = await running('hang');
    const { invocations } = rig.life.session;
    await expect.poll(() => invocations.serving()).toBe(true);
    const wish = { $case: 'stop', value: { reason: StopReason.UNLOAD, graceMs: 500 } } as const;
    const asked = invocations.ask(wish, { timeoutMs: 10_000, urgent: true }).catch((error: HostError) => error.reason);
    expect(await asked).toBe('MODULE_UNAVAILABLE');
    expect((await exited).code).toBe(0);
  });
});
