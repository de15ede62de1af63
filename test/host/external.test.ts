import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { EventServiceClient, type SubscribeResponse } from '../../gen/ts/modhost/event/v1/event_service.js';
import { ChainServiceClient } from '../../gen/ts/modhost/v1/chain.js';
import { SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { cleanUp, client, directory, external, hostIn, ready } from './host-rig.js';
import { STATES, until } from './spawned-host.js';

afterEach(cleanUp);

describe('a module that somebody else starts', () => {
  it('finds a token that only it can read, which is gone after its first use', async () => {
    const { host, open, dir } = await external();
    const path = join(dir, 's', 'x-probe', 'token');
    expect(host.list()[0]).toMatchObject({ externalTokenFile: path, pid: 0 });
    expect(statSync(path).mode & 0o777).toBe(0o400);
    expect(statSync(path).uid).toBe(process.getuid?.());
    expect(statSync(join(dir, 's', 'x-probe')).mode & 0o777).toBe(0o700);
    expect(STATES[host.list()[0]?.state ?? 0]).toBe('STARTING');
    await ready(await open('probe'));
    expect(existsSync(path)).toBe(false);
    expect(host.list()[0]).toMatchObject({ externalTokenFile: '', restarts: 0 });
    expect(STATES[host.list()[0]?.state ?? 0]).toBe('RUNNING');
  });

  it('is told as started when it shows its token, and not before', async () => {
    const rig = await external();
    const heard: (string | undefined)[] = [];
    void (async () => {
      for await (const { event } of rig.host.events()) heard.push(event.payload?.$case);
    })();
    await rig.host.unload('probe');
    await rig.host.load('probe');
    expect(heard.filter((name) => name !== 'moduleStateChanged')).toEqual([]);
    await ready(await rig.open('probe'));
    expect(heard.filter((name) => name !== 'moduleStateChanged')).toEqual(['moduleStarted', 'moduleLoaded']);
  });

  it('has ended when its last connection stays closed, and is offered its place anew', async () => {
    const rig = await external(['subscribe_events']);
    const socketPath = await rig.open('probe');
    const session = new SessionServiceClient(`unix:${socketPath}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    await unary((done) => session.ready({}, done as never));
    const { instanceId } = rig.host.list()[0] ?? {};
    const { ino } = statSync(join(rig.dir, 's', 'x-probe'));
    session.close();
    await until('the new offer', () => rig.host.list()[0]?.instanceId !== instanceId && existsSync(socketPath));
    await until('its token', () => rig.host.list()[0]?.externalTokenFile !== '');
    expect(rig.host.list()[0]).toMatchObject({ restarts: 1, recentCrashes: 1 });
    // the same directory, not another of that name: a container that has it mounted sees the new socket
    expect(statSync(join(rig.dir, 's', 'x-probe')).ino).toBe(ino);
    await ready(await rig.open('probe'));
    expect(STATES[rig.host.list()[0]?.state ?? 0]).toBe('RUNNING');
  });

  it('hears of its own loading exactly once', async () => {
    const rig = await external(['subscribe_events']);
    const socketPath = await rig.open('probe');
    const stream = client(EventServiceClient, socketPath).subscribe({
      types: [EventType.MODULE_LOADED],
      topics: [],
      chainCursor: [],
    });
    stream.on('error', () => {});
    const heard: SubscribeResponse[] = [];
    stream.on('data', (response: SubscribeResponse) => heard.push(response));
    await until('the stream', () => heard.length > 0);
    await ready(socketPath);
    const own = () => heard.flatMap(({ events }) => events);
    await until('its own loading', () => own().length > 0);
    expect(await reasonOf(ready(socketPath))).toBe('ALREADY_READY');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(own().map(({ payload }) => payload?.value)).toMatchObject([{ moduleName: 'probe', version: '1.0.0' }]);
  });

  it('C095: loses a running stream within a second of its permission, and later calls at once', async () => {
    const rig = await external(['subscribe_events', 'read_chain_state']);
    const socketPath = await rig.open('probe');
    await ready(socketPath);
    const stream = client(EventServiceClient, socketPath).subscribe({
      types: [EventType.NEW_BLOCK],
      topics: [],
      chainCursor: [],
    });
    const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve));
    await new Promise((resolve) => stream.once('data', resolve));
    const before = performance.now();
    rig.host.withdraw('probe', 'SUBSCRIBE_EVENTS');
    const error = await ended;
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(error.metadata.get('modhost-reason')).toEqual(['PERMISSION_WITHDRAWN']);
    rig.host.withdraw('probe', 'READ_CHAIN_STATE');
    const chain = client(ChainServiceClient, socketPath);
    expect(await reasonOf(unary((done) => chain.getChainTip({}, done as never)))).toBe('MISSING_PERMISSION');
    expect(rig.host.list()[0]?.granted).toEqual([]);
  });

  it('C100: after an unload the old connection is refused, the moment the unload begins', async () => {
    const rig = await external(['read_chain_state']);
    const socketPath = await rig.open('probe');
    await ready(socketPath);
    const chain = client(ChainServiceClient, socketPath);
    expect(await reasonOf(unary((done) => chain.getChainTip({}, done as never)))).toBe('OK');
    const unloading = rig.host.unload('probe');
    const late = await reasonOf(unary((done) => chain.getChainTip({}, done as never)));
    expect(['SESSION_CLOSED', 'code 14']).toContain(late);
    await unloading;
    expect(await reasonOf(unary((done) => chain.getChainTip({}, done as never)))).toBe('code 14');
    expect(existsSync(socketPath)).toBe(false);
  });

  it('C110: a reload ends the old stream; only the new session hears of the new instance', async () => {
    const rig = await external(['subscribe_events']);
    const first = await rig.open('probe');
    await ready(first);
    const open = (socketPath: string) => {
      const heard: SubscribeResponse[] = [];
      const stream = client(EventServiceClient, socketPath).subscribe({
        types: [EventType.MODULE_LOADED],
        topics: [],
        chainCursor: [],
      });
      const ended = new Promise<unknown>((resolve) => stream.on('error', resolve));
      stream.on('data', (response: SubscribeResponse) => heard.push(response));
      return { ended, heard, names: () => heard.flatMap(({ events }) => events).map(({ payload }) => payload?.value) };
    };
    const old = open(first);
    await until('the old stream', () => old.heard.length > 0);
    const before = old.names().length;
    await rig.host.reload('probe');
    await old.ended;
    const second = await rig.open('probe');
    const fresh = open(second);
    await until('the new stream', () => fresh.heard.length > 0);
    await ready(second);
    await until('the news', () => fresh.names().length > 0);
    const { instanceId } = rig.host.list()[0] ?? {};
    expect(fresh.names()).toMatchObject([{ instanceId }]);
    expect(old.names()).toHaveLength(before);
  });

  it('C157: sees its secrets at the handshake, and GetContext leaves them out', async () => {
    const dir = directory();
    mkdirSync(join(dir, 'm', 'probe'), { recursive: true });
    writeFileSync(
      join(dir, 'm', 'probe', 'module.toml'),
      'name = "probe"\nversion = "1.0.0"\n[config]\nseed = { type = "string", secret = true }\ndepth = { type = "integer", default = 6 }\n',
    );
    const settings = { run: 'external', unsigned: true, config: { seed: 'abandon abandon about' } } as const;
    const host = hostIn(dir, { modules: { probe: settings } });
    await host.start();
    await host.autoLoad();
    const session = client(SessionServiceClient, join(dir, 's', 'x-probe', 'host.sock'));
    const token = readFileSync(join(dir, 's', 'x-probe', 'token'));
    const claims = { moduleName: 'probe', moduleVersion: '1.0.0', protocolMin: 1, protocolMax: 1 };
    const opened = await unary<{ configJson: string; context: { containment: unknown[] } }>((done) =>
      session.handshake({ token, ...claims, sdkName: '', sdkVersion: '' }, done as never),
    );
    expect(JSON.parse(opened.configJson)).toEqual({ seed: 'abandon abandon about', depth: 6 });
    expect(opened.context.containment.length).toBeGreaterThan(0);
    const context = await unary<{ configJson: string }>((done) => session.getContext({}, done as never));
    expect(JSON.parse(context.configJson)).toEqual({ depth: 6 });
  });

  it('C082: closes every connection after three wrong tokens, and the right one still works afterwards', async () => {
    const rig = await external();
    const token = rig.token('probe');
    const socketPath = rig.socketPath('probe');
    const wrong = {
      moduleName: 'probe',
      moduleVersion: '1.0.0',
      protocolMin: 1,
      protocolMax: 1,
      sdkName: '',
      sdkVersion: '',
    };
    const session = client(SessionServiceClient, socketPath);
    const idle = connect(socketPath);
    idle.on('error', () => {});
    const closed = new Promise((resolve) => idle.once('close', resolve));
    idle.resume();
    for (let i = 0; i < 3; i++) {
      const attempt = unary((done) =>
        session.handshake({ token: token.map((byte) => byte ^ 1), ...wrong }, done as never),
      );
      expect(await reasonOf(attempt)).toBe('BAD_TOKEN');
    }
    await closed;
    await ready(await rig.open('probe'));
  });
});
