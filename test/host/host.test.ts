import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { ChainServiceClient } from '../../gen/ts/modhost/v1/chain.js';
import { NodeServiceClient } from '../../gen/ts/modhost/v1/node.js';
import { SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { callUnary, createAdminClient } from '../../src/client/admin-client.js';
import { HostError } from '../../src/contract/error.js';
import type { NodeApi } from '../../src/node/node-api.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { createExternalHost } from './external-host.js';
import { atEnd, cleanUp, client, devchain, directory, external, hostIn, ready } from './host-rig.js';
import { reason, STATES, until } from './spawned-host.js';

afterEach(cleanUp);

describe('the directories of a host', () => {
  it('C091: refuses a run directory that others can write, that is a link, or that is no directory', async () => {
    const dir = directory();
    mkdirSync(join(dir, 'open'));
    chmodSync(join(dir, 'open'), 0o777);
    mkdirSync(join(dir, 'real'));
    symlinkSync(join(dir, 'real'), join(dir, 'link'));
    writeFileSync(join(dir, 'file'), '');
    for (const name of ['open', 'link', 'file']) {
      expect(await reason(hostIn(dir, { socketDir: join(dir, name) }).start()), name).toBe('UNSAFE_RUN_DIR');
      expect(await reason(hostIn(dir, { socketDir: join(dir, 's1'), dataDir: join(dir, name) }).start()), name).toBe(
        name === 'link' ? 'OK' : 'UNSAFE_DATA_DIR',
      );
    }
    expect(existsSync(join(dir, 'open', 'admin.sock'))).toBe(false);
  });

  it('C091: refuses a socket path that the kernel would cut, before anything is made', async () => {
    const dir = directory();
    const socketDir = join(dir, 'x'.repeat(100));
    expect(await reason(hostIn(dir, { socketDir }).start())).toBe('SOCKET_PATH_TOO_LONG');
    expect(existsSync(socketDir)).toBe(false);
  });

  it('C091: never takes the socket of a live host, and sweeps what a dead one left', async () => {
    const dir = directory();
    const first = hostIn(dir);
    await first.start();
    mkdirSync(join(dir, 's', '0badcafe'));
    expect(await reason(hostIn(dir).start())).toBe('ALREADY_RUNNING');
    // the second one has swept nothing of the first, nor taken its socket with it
    expect(existsSync(join(dir, 's', '0badcafe'))).toBe(true);
    const admin = createAdminClient(first.adminSocket);
    await callUnary((done) => admin.admin.getStatus({}, done));
    admin.close();
    await first.stop();
    expect(existsSync(first.adminSocket)).toBe(false);

    // a host that was killed leaves its socket and the directories of spawns
    const dead = createServer().listen(join(dir, 's', 'other.sock'));
    await new Promise((resolve) => dead.once('listening', resolve));
    const { renameSync } = await import('node:fs');
    renameSync(join(dir, 's', 'other.sock'), first.adminSocket);
    await new Promise((resolve) => dead.close(resolve));
    for (const name of ['deadbeef', 'x-probe', 'canary-Ab12Cd']) mkdirSync(join(dir, 's', name), { recursive: true });
    mkdirSync(join(dir, 's', 'mine'));
    await hostIn(dir).start();
    expect(['deadbeef', 'x-probe', 'canary-Ab12Cd', 'mine'].map((name) => existsSync(join(dir, 's', name)))).toEqual([
      false,
      false,
      false,
      true,
    ]);
  });

  it('C091: of two hosts that start at once in one directory, one runs', async () => {
    const dir = directory();
    const answers = await Promise.all([reason(hostIn(dir).start()), reason(hostIn(dir).start())]);
    expect(answers.sort()).toEqual(['ALREADY_RUNNING', 'OK']);
  });

  it('keeps the operator’s socket to the host’s own user', async () => {
    const dir = directory();
    const host = hostIn(dir);
    await host.start();
    expect(statSync(host.adminSocket).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, 's')).mode & 0o777).toBe(0o711);
  });
});

describe('a host inside a program', () => {
  it('leaves nothing behind: no handle, no listener, no environment', async () => {
    const seen = () => ({
      listeners: process.eventNames().map((name) => [name, process.listenerCount(name as string)]),
      environment: { ...process.env },
      cwd: process.cwd(),
      umask: process.umask().toString(8),
    });
    // the runner of the tests has timers and requests of its own that come and go: what stays is counted
    const handles = () =>
      process.getActiveResourcesInfo().filter((kind) => kind.endsWith('Wrap') || kind === 'Timeout');
    const dir = directory();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = seen();
    const handlesBefore = handles().length;
    for (let i = 0; i < 2; i++) {
      const rig = await createExternalHost({ modules: [{ name: 'probe', capabilities: [] }] });
      const socketPath = await rig.open('probe');
      const session = new SessionServiceClient(`unix:${socketPath}`, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      });
      await unary((done) => session.ready({}, done as never));
      session.close();
      expect(handles().length).toBeGreaterThan(handlesBefore);
      await rig.dispose();
    }
    await hostIn(dir).stop();
    expect(seen()).toEqual(before);
    // well within the 5 s after which a forgotten timer of the host would end by itself
    await until('what is being closed', () => handles().length <= handlesBefore, 2_000);
  });

  it('has room for a second one', async () => {
    const [a, b] = [await external(), await external()];
    await Promise.all([ready(await a.open('probe')), ready(await b.open('probe'))]);
    await a.host.stop();
    expect(STATES[b.host.list()[0]?.state ?? 0]).toBe('RUNNING');
  });

  it('says what it is when it has not started or has stopped', async () => {
    const host = hostIn(directory());
    expect(await reason(host.autoLoad())).toBe('INVALID_REQUEST');
    await Promise.all([host.start(), host.start()]);
    await Promise.all([host.stop(), host.stop()]);
    expect(await reason(host.start())).toBe('HOST_STOPPING');
    expect(await reason(host.autoLoad())).toBe('HOST_STOPPING');
  });

  it('stops although its node does not', async () => {
    const node = devchain();
    const host = hostIn(directory(), {
      node: { ...node, stop: () => Promise.reject(new Error('will not')) } as NodeApi,
    });
    await host.start();
    await host.stop();
    expect(existsSync(host.adminSocket)).toBe(false);
    await node.stop();
  });
});

describe('a node that is not there', () => {
  /** A devchain whose start fails as long as `reason` says so. */
  function lateNode() {
    const node = devchain();
    const late = { refusal: 'NODE_UNAVAILABLE' as 'NODE_UNAVAILABLE' | 'NODE_AUTH' | undefined, attempts: 0 };
    const start: NodeApi['start'] = async (listener, signal) => {
      late.attempts += 1;
      if (late.refusal !== undefined) throw new HostError(late.refusal, 'not yet');
      await node.start(listener, signal);
    };
    return { late, node: Object.assign(Object.create(node) as NodeApi, { start }) };
  }

  it('is waited for: the host runs and says so, autoLoad begins when the node is reached', async () => {
    const dir = directory();
    mkdirSync(join(dir, 'm', 'probe'), { recursive: true });
    writeFileSync(
      join(dir, 'm', 'probe', 'module.toml'),
      'name = "probe"\nversion = "1.0.0"\ncapabilities = ["read_chain_state"]\n',
    );
    const { late, node } = lateNode();
    const host = hostIn(dir, { node, modules: { probe: { run: 'external', unsigned: true } } });
    await host.start();
    const status = await host.control.status(AbortSignal.timeout(5_000));
    expect(status.node).toMatchObject({ reachable: false, network: 'unknown', lastError: { message: 'not yet' } });
    const heard: (string | undefined)[] = [];
    void (async () => {
      for await (const { event } of host.events()) heard.push(event.payload?.$case);
    })();
    // loading by hand does not wait, and the module hears what is the matter
    await host.load('probe');
    const token = readFileSync(join(dir, 's', 'x-probe', 'token'));
    const socketPath = join(dir, 's', 'x-probe', 'host.sock');
    const session = client(SessionServiceClient, socketPath);
    const claims = { moduleName: 'probe', moduleVersion: '1.0.0', protocolMin: 1, protocolMax: 1 };
    await unary((done) => session.handshake({ token, ...claims, sdkName: '', sdkVersion: '' }, done as never));
    const chain = client(ChainServiceClient, socketPath);
    expect(await reasonOf(unary((done) => chain.getChainTip({}, done as never)))).toBe('NODE_UNAVAILABLE');
    let loaded = false;
    const loading = host.autoLoad().then(() => {
      loaded = true;
    });
    await until('another attempt', () => late.attempts >= 2);
    expect(loaded).toBe(false);
    late.refusal = undefined;
    await loading;
    expect((await host.control.status(AbortSignal.timeout(5_000))).node).toMatchObject({ reachable: true });
    expect(await reasonOf(unary((done) => chain.getChainTip({}, done as never)))).toBe('OK');
    expect(heard).toContain('nodeStartupCompleted');
  });

  it('ends the start when waiting would not help', async () => {
    const { late, node } = lateNode();
    late.refusal = 'NODE_AUTH';
    const host = hostIn(directory(), { node });
    expect(await reason(host.start())).toBe('NODE_AUTH');
    expect(existsSync(host.adminSocket)).toBe(false);
  });

  it('does not hold a stop back, before the first answer or after', async () => {
    const node = devchain();
    const start: NodeApi['start'] = (_listener, signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(HostError.from(signal.reason))));
    const host = hostIn(directory(), { node: Object.assign(Object.create(node) as NodeApi, { start }) });
    const starting = reason(host.start());
    // callers on the operator's socket are answered while the node is awaited
    await until('the socket', () => existsSync(host.adminSocket));
    const admin = createAdminClient(host.adminSocket);
    const status = await callUnary<{ node?: { reachable: boolean } | undefined }>((done) =>
      admin.admin.getStatus({}, done as never),
    );
    expect(status.node?.reachable).toBe(false);
    admin.close();
    await host.stop();
    expect(await starting).toBe('HOST_STOPPING');

    const { node: late } = lateNode();
    const second = hostIn(directory(), { node: late });
    await second.start();
    const loading = reason(second.autoLoad());
    await second.stop();
    expect(await loading).toBe('HOST_STOPPING');
  });
});

it('answers for a node of an embedder by its own word', async () => {
  const rig = await createExternalHost({
    modules: [{ name: 'probe', capabilities: ['read_chain_state'] }],
    wrapNode: (node) =>
      Object.assign(Object.create(node) as NodeApi, {
        getInfo: async (signal: AbortSignal) => ({ ...(await node.getInfo(signal)), kind: 'my-node' }),
      }),
  });
  atEnd(() => rig.dispose());
  const socketPath = await rig.open('probe');
  const response = await unary<object>((done) => client(NodeServiceClient, socketPath).getNodeInfo({}, done as never));
  expect(JSON.stringify(response, (_k, v: unknown) => (typeof v === 'bigint' ? String(v) : v))).toContain('my-node');
});
