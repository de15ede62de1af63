import { chmodSync, chownSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { ConfigOutcome } from '../../gen/ts/modhost/admin/v1/config.js';
import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';
import {
  type ConfigInvocation,
  InvocationFailureKind,
  type InvocationResult,
  InvocationServiceClient,
  type ServeRequest,
  type ServeResponse,
} from '../../gen/ts/modhost/v1/invocation.js';
import {
  type GetContextResponse,
  type HandshakeResponse,
  SessionServiceClient,
} from '../../gen/ts/modhost/v1/session.js';
import { HostError } from '../../src/contract/error.js';
import type { Host } from '../../src/host/host.js';
import type { ModuleSettings, ModulesReading } from '../../src/host/options.js';
import { unary } from '../ipc/rig.js';
import { VERSION } from './external-module.js';
import { cleanUp, client, directory, hostIn } from './host-rig.js';
import { until } from './spawned-host.js';

afterEach(cleanUp);

const SCHEMA = `
[config]
target_blocks = { type = "integer", default = 6, min = 1, max = 1008 }
label = { type = "string", default = "none" }
password = { type = "string", secret = true }
seeds = { type = "bytes[]", secret = true }
# the test answers configurations alone, no wish to stop either
[limits]
stop_timeout_ms = 300
[health]
mode = "ping"
`;
const { REFUSED } = ConfigOutcome;
const OUTCOMES = ['', 'APPLIED', 'AT_NEXT_START', 'REFUSED'];
const done: InvocationResult['outcome'] = { $case: 'done', value: {} };

/** A host whose modules somebody else starts: the test. What its file says is `file.modules`. */
async function rig(
  settings: Readonly<Record<string, ModuleSettings>>,
  options: { schema?: string; capabilities?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
) {
  const dir = directory();
  const write = (name: string, manifest: string): void => {
    mkdirSync(join(dir, 'm', name), { recursive: true });
    writeFileSync(join(dir, 'm', name, 'module.toml'), `name = "${name}"\nversion = "1.0.0"\n${manifest}`);
  };
  const asked = JSON.stringify(options.capabilities ?? []);
  for (const name of Object.keys(settings)) write(name, `capabilities = ${asked}\n${options.schema ?? SCHEMA}`);
  const whole = (modules: Readonly<Record<string, ModuleSettings>>) =>
    Object.fromEntries(
      Object.entries(modules).map(([name, one]) => [name, { run: 'external', unsigned: true, ...one }] as const),
    );
  const file: { modules: Readonly<Record<string, ModuleSettings>>; needsRestart: string[] } = {
    modules: settings,
    needsRestart: [],
  };
  const host = hostIn(dir, {
    modules: whole(settings),
    readModules: (): ModulesReading => ({ modules: whole(file.modules), needsRestart: file.needsRestart }),
    env: options.env ?? {},
  });
  await host.start();
  await host.autoLoad();
  return {
    dir,
    host,
    file,
    write,
    apply: () => host.control.applyConfig(new AbortController().signal),
    socket: (name: string) => join(dir, 's', `x-${name}`, 'host.sock'),
  };
}

type Rig = Awaited<ReturnType<typeof rig>>;

/** Opens the module's session, Ready; answers configurations by `answer`, or serves nothing when there is none. */
async function open(made: Rig, name: string, answer?: (change: ConfigInvocation) => InvocationResult['outcome']) {
  const socketPath = made.socket(name);
  const shake = {
    token: readFileSync(join(dirname(socketPath), 'token')),
    moduleName: name,
    moduleVersion: VERSION,
    protocolMin: 1,
    protocolMax: 1,
    sdkName: '',
    sdkVersion: '',
  };
  const session = client(SessionServiceClient, socketPath);
  const given = await unary<HandshakeResponse>((cb) => session.handshake(shake, cb));
  const config = JSON.parse(given.configJson) as Record<string, unknown>;
  const heard: ConfigInvocation[] = [];
  let stream: ClientDuplexStream<ServeRequest, ServeResponse> | undefined;
  if (answer !== undefined) {
    const opened: ClientDuplexStream<ServeRequest, ServeResponse> = client(InvocationServiceClient, socketPath).serve();
    stream = opened;
    opened.on('error', () => {});
    opened.on('data', ({ invocations }: ServeResponse) => {
      for (const { id, work } of invocations) {
        if (work?.$case !== 'configChange') continue;
        heard.push(work.value);
        const outcome = answer(work.value);
        if (outcome !== undefined) opened.write({ maxConcurrent: 0, results: [{ id, outcome }] });
      }
    });
    await new Promise((resolve) => opened.once('metadata', resolve));
  }
  await unary((cb) => session.ready({}, cb as never));
  await until('Ready', () => made.host.list().find((module) => module.name === name)?.readyUnixMs !== 0n);
  return { session, config, heard, stream };
}

const contextConfig = async (session: SessionServiceClient): Promise<Record<string, unknown>> => {
  const { configJson } = await unary<GetContextResponse>((cb) => session.getContext({}, cb));
  return JSON.parse(configJson) as Record<string, unknown>;
};

const short = (changes: Awaited<ReturnType<Host['configure']>>) =>
  changes.map(({ module, outcome, changedKeys }) => [module, OUTCOMES[outcome], ...changedKeys].join(' '));

describe('changing the configuration of a running module', () => {
  it('hands the whole new one over with the changed keys, and has it in force once the module is done with it', async () => {
    const made = await rig({ probe: { config: { target_blocks: 3n } } });
    const sections: string[][] = [];
    const hearing = (async () => {
      for await (const { event } of made.host.events()) {
        if (event.payload?.$case === 'configLoaded') sections.push(event.payload.value.changedSections);
      }
    })();
    const { heard, config, session } = await open(made, 'probe', () => done);
    expect(config).toEqual({ target_blocks: 3, label: 'none' });
    expect(await made.apply()).toEqual({ changes: [], needsRestart: [] });
    made.file.modules = { probe: { config: { target_blocks: 9n, label: 'b' } } };
    made.file.needsRestart = ['node.kind'];
    const { changes, needsRestart } = await made.apply();
    expect(short(changes)).toEqual(['probe APPLIED config.label config.target_blocks']);
    expect(needsRestart).toEqual(['node.kind']);
    expect(heard).toHaveLength(1);
    expect(heard[0]?.changedKeys).toEqual(['label', 'target_blocks']);
    expect(JSON.parse(heard[0]?.configJson ?? '')).toEqual({ target_blocks: 9, label: 'b' });
    expect(await contextConfig(session)).toEqual({ target_blocks: 9, label: 'b' });
    // a default is as good as the value
    made.file.modules = { probe: { config: { target_blocks: 9n } } };
    expect(short((await made.apply()).changes)).toEqual(['probe APPLIED config.label']);
    expect(heard[1]?.changedKeys).toEqual(['label']);
    // written otherwise, the same: nobody is asked
    made.file.modules = { probe: { config: { target_blocks: 9n, label: 'none' } } };
    expect(short((await made.apply()).changes)).toEqual(['probe APPLIED config.label']);
    expect(heard).toHaveLength(2);
    await made.host.stop();
    await hearing;
    expect(sections).toEqual([['modules.probe'], ['modules.probe'], ['modules.probe']]);
  });

  it('C153: what the schema refuses leaves the old one in force, at the next start too, and shows no value', async () => {
    const made = await rig({ probe: { config: { target_blocks: 3n } } });
    const { heard, session } = await open(made, 'probe', () => done);
    made.file.modules = { probe: { config: { target_blocks: 4711n } } };
    const [change] = (await made.apply()).changes;
    expect(change).toMatchObject({ outcome: REFUSED, changedKeys: ['config.target_blocks'] });
    expect(change?.failure?.reason).toBe(ReasonNumber.CONFIG_REFUSED);
    expect(change?.failure?.message).toContain('modules.probe.config.target_blocks');
    expect(change?.failure?.message).not.toContain('4711');
    expect(heard).toEqual([]);
    expect(await contextConfig(session)).toMatchObject({ target_blocks: 3 });
    await made.host.reload('probe');
    expect((await open(made, 'probe')).config).toMatchObject({ target_blocks: 3 });
    // it was put right
    made.file.modules = { probe: { config: { target_blocks: 5n } } };
    expect(short((await made.apply()).changes)).toEqual(['probe AT_NEXT_START config.target_blocks']);
  });

  it('C166: an unknown key, a wrong type and a number out of range are refused by name, at the start and later', async () => {
    const wrong = {
      typo: [{ target_bloks: 3n }, 'target_blocks'],
      text: [{ target_blocks: '3' }, 'whole number'],
      negative: [{ target_blocks: -1n }, 'minimum'],
    } as const;
    const made = await rig({
      probe: {},
      ...Object.fromEntries(Object.entries(wrong).map(([k, [config]]) => [k, { config }])),
    });
    await open(made, 'probe', () => done);
    const status = (name: string) => made.host.list().find((module) => module.name === name);
    for (const [name, [config, cure]] of Object.entries(wrong)) {
      expect(status(name)?.lastError?.message).toContain(cure);
      const [change] = await made.host.configure('probe', { run: 'external', unsigned: true, config });
      expect(change).toMatchObject({ outcome: REFUSED });
      expect(change?.failure?.message).toContain(cure);
    }
  });

  it('C153: what the module refuses is not in force, while the rest of its table cannot be refused', async () => {
    const made = await rig(
      { probe: { config: { label: 'old' } } },
      { capabilities: ['read_blockchain', 'read_mempool'] },
    );
    const no: InvocationResult['outcome'] = {
      $case: 'failure',
      value: {
        kind: InvocationFailureKind.FAILED,
        code: 0,
        message: 'not\u001b[31m this',
        dataJson: '',
        retryAfterMs: 0,
      },
    };
    let says: InvocationResult['outcome'] = no;
    const { heard, session } = await open(made, 'probe', () => says);
    made.file.modules = { probe: { config: { label: 'new' }, grants: ['READ_MEMPOOL'], limits: { memoryMb: 64 } } };
    const { changes } = await made.apply();
    expect(short(changes)).toEqual([
      'probe APPLIED grants',
      'probe AT_NEXT_START limits.memory_mb',
      'probe REFUSED config.label',
    ]);
    expect(changes[2]?.failure?.reason).toBe(ReasonNumber.CONFIG_REFUSED);
    expect(changes[2]?.failure?.message).not.toContain('\u001b');
    expect(await contextConfig(session)).toMatchObject({ label: 'old' });
    expect(made.host.list()[0]?.granted).toHaveLength(1);
    // asked again at the next apply, and not before
    expect(heard).toHaveLength(1);
    says = done;
    expect(short((await made.apply()).changes)).toEqual(['probe APPLIED config.label']);
    expect(await contextConfig(session)).toMatchObject({ label: 'new' });
    made.file.modules = { probe: { config: { label: 'new' } } };
    expect(short((await made.apply()).changes)).toEqual(['probe AT_NEXT_START grants limits.memory_mb']);
    expect(made.host.list()[0]?.granted).toHaveLength(1);
    await made.host.reload('probe');
    await open(made, 'probe');
    expect(made.host.list()[0]?.granted).toHaveLength(2);
  });

  it('waits for the next start of a module that takes no changes, has no stream, or does not run', async () => {
    const made = await rig({ kindless: {}, silent: {}, asleep: { enabled: false } });
    const unsupported: InvocationResult['outcome'] = {
      $case: 'failure',
      value: { kind: InvocationFailureKind.UNSUPPORTED, code: 0, message: '', dataJson: '', retryAfterMs: 0 },
    };
    await open(made, 'kindless', () => unsupported);
    const { session } = await open(made, 'silent');
    const config = { label: 'next' };
    made.file.modules = {
      kindless: { config },
      silent: { config },
      asleep: { config, enabled: false },
      stranger: { config },
    };
    expect(short((await made.apply()).changes)).toEqual([
      'asleep AT_NEXT_START config.label',
      'kindless AT_NEXT_START config.label',
      'silent AT_NEXT_START config.label',
      'stranger AT_NEXT_START config.label run unsigned',
    ]);
    expect(await contextConfig(session)).toMatchObject({ label: 'none' });
    await made.host.reload('silent');
    expect((await open(made, 'silent')).config).toMatchObject({ label: 'next' });
    await made.host.load('asleep');
    expect((await open(made, 'asleep')).config).toMatchObject({ label: 'next' });
  });

  it('says that it does not know when the module goes away over it, and keeps other commands waiting until then', async () => {
    const made = await rig({ probe: {} });
    const { heard, stream, session } = await open(made, 'probe', () => undefined);
    const changing = made.host.configure('probe', { run: 'external', unsigned: true, config: { label: 'x' } });
    await until('the question', () => heard.length === 1);
    const order: string[] = [];
    const unloading = made.host.unload('probe').then(() => order.push('unloaded'));
    void changing.then(() => order.push('changed'));
    expect(await contextConfig(session)).toMatchObject({ label: 'none' });
    stream?.cancel();
    const [change] = await changing;
    expect(change?.outcome).toBe(REFUSED);
    expect(change?.failure?.reason).toBe(ReasonNumber.MODULE_UNAVAILABLE);
    await unloading;
    expect(order).toEqual(['changed', 'unloaded']);
  });

  it('reads nothing into a file that does not parse, and needs one', async () => {
    const dir = directory();
    const host = hostIn(dir, {
      readModules() {
        throw new HostError('BAD_CONFIG', 'line 3');
      },
    });
    await host.start();
    const apply = (of: Host) => of.control.applyConfig(new AbortController().signal);
    await expect(apply(host)).rejects.toMatchObject({ reason: 'BAD_CONFIG' });
    const without = hostIn(directory());
    await without.start();
    await expect(apply(without)).rejects.toMatchObject({ reason: 'INVALID_REQUEST' });
  });
});

describe('secrets of a module', () => {
  const source = (dir: string, name: string, text: string | Uint8Array, mode = 0o600) => {
    const file = join(dir, name);
    writeFileSync(file, text);
    chmodSync(file, mode);
    return { file };
  };

  it('come from files and variables, one line end cut, an array by lines, and only the handshake tells them', async () => {
    const dir = directory();
    source(dir, 'real', 'linked-secret');
    symlinkSync('real', join(dir, 'link'));
    const made = await rig(
      {
        probe: { secrets: { password: source(dir, 'p', ' two words \n'), seeds: { env: 'SEEDS' } } },
        linked: { secrets: { password: { file: join(dir, 'link') } } },
        plain: { config: { password: 'plain-secret' } },
      },
      { env: { SEEDS: '00ff\nAB\n' } },
    );
    const { config, session } = await open(made, 'probe');
    expect(config).toMatchObject({ password: ' two words ', seeds: ['00ff', 'ab'] });
    expect(await contextConfig(session)).toEqual({ target_blocks: 6, label: 'none' });
    expect((await open(made, 'linked')).config).toMatchObject({ password: 'linked-secret' });
    const plain = await open(made, 'plain');
    expect(plain.config).toMatchObject({ password: 'plain-secret' });
    expect(await contextConfig(plain.session)).not.toHaveProperty('password');
  });

  it('are handed over when a file was written anew, and never shown', async () => {
    const dir = directory();
    const secret = source(dir, 'p', 'first-secret\n');
    const made = await rig({ probe: { secrets: { password: secret } } });
    const { heard } = await open(made, 'probe', () => done);
    expect((await made.apply()).changes).toEqual([]);
    source(dir, 'p', 'second-secret\n');
    const { changes } = await made.apply();
    expect(short(changes)).toEqual(['probe APPLIED secrets.password']);
    expect(heard[0]?.changedKeys).toEqual(['password']);
    expect(heard[0]?.configJson).toContain('second-secret');
    // gone: what is in force stays
    chmodSync(secret.file, 0o644);
    const [change] = (await made.apply()).changes;
    expect(change).toMatchObject({ outcome: REFUSED, changedKeys: ['secrets.password'] });
    expect(JSON.stringify(change?.failure?.message)).not.toContain('second');
    await expect(made.host.reload('probe')).rejects.toMatchObject({ reason: 'BAD_CONFIG' });
    chmodSync(secret.file, 0o400);
    await made.host.load('probe');
    expect((await open(made, 'probe')).config).toMatchObject({ password: 'second-secret' });
  });

  it('C157: that cannot be read safely, or do not belong there, keep the module from starting', async () => {
    const dir = directory();
    const file = (name: string, text: string | Uint8Array = 'abc-def', mode = 0o600) => source(dir, name, text, mode);
    const password = (one: { file: string } | { env: string }): ModuleSettings => ({ secrets: { password: one } });
    const modules: Record<string, [ModuleSettings, keyof typeof ReasonNumber]> = {
      'others-read': [password(file('a', 'abc', 0o604)), 'BAD_CONFIG'],
      'group-writes': [password(file('b', 'abc', 0o620)), 'BAD_CONFIG'],
      absent: [password({ file: '/nonexistent/p' }), 'BAD_CONFIG'],
      directory: [password({ file: dir }), 'BAD_CONFIG'],
      device: [password({ file: '/dev/zero' }), 'BAD_CONFIG'],
      large: [password(file('c', 'x'.repeat(65_538))), 'BAD_CONFIG'],
      empty: [password(file('d', '\n')), 'BAD_CONFIG'],
      'no-text': [password(file('e', Uint8Array.of(0xff, 0xfe))), 'BAD_CONFIG'],
      'not-set': [password({ env: 'NOT_SET' }), 'BAD_CONFIG'],
      'no-secret': [{ secrets: { label: file('f') } }, 'BAD_CONFIG'],
      twice: [{ config: { password: 'x' }, ...password(file('g')) }, 'BAD_CONFIG'],
      typo: [{ secrets: { pasword: file('h') } }, 'UNKNOWN_FIELD'],
      type: [{ secrets: { seeds: file('i', 'zz') } }, 'BAD_VALUE'],
    };
    if (process.getuid?.() === 0) {
      const stranger = file('j');
      chownSync(stranger.file, 4242, 4242);
      modules.stranger = [password(stranger), 'BAD_CONFIG'];
    }
    const made = await rig(Object.fromEntries(Object.entries(modules).map(([name, [settings]]) => [name, settings])));
    const told = new Map(made.host.list().map(({ name, lastError }) => [name, lastError]));
    for (const [name, [, reason]] of Object.entries(modules)) {
      expect([name, told.get(name)?.reason]).toEqual([name, ReasonNumber[reason]]);
      expect(told.get(name)?.message).toContain(`modules.${name}.`);
      expect(told.get(name)?.message).not.toContain('abc');
    }
  });
});
