import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { GetObservationResponse } from '../../gen/ts/modhost/admin/v1/observation.js';
import { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { EventServiceClient } from '../../gen/ts/modhost/event/v1/event_service.js';
import { BlockFormat } from '../../gen/ts/modhost/v1/bitcoin.js';
import { ChainServiceClient } from '../../gen/ts/modhost/v1/chain.js';
import { MempoolServiceClient } from '../../gen/ts/modhost/v1/mempool.js';
import { ModuleServiceClient } from '../../gen/ts/modhost/v1/module.js';
import { type Permission, permissionNumber } from '../../src/contract/permission.js';
import { createObservation } from '../../src/host/observation.js';
import { LIMIT_RULES, roomFor } from '../../src/host/observed-manifest.js';
import type { ModuleSettings } from '../../src/host/options.js';
import { parseManifest } from '../../src/manifest/parse.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { builtExamples } from '../story/chain-story.js';
import { cleanUp, client, devchain, directory, external, hostIn, ready } from './host-rig.js';
import { until } from './spawned-host.js';

afterEach(cleanUp);
const { skip } = await sandboxToolchain();

const NONE = new Uint8Array(0);
const clock = { monotonicMs: () => 5, unixMs: () => 7 };
const manifestOf = ({ manifestToml }: GetObservationResponse) => parseManifest(Buffer.from(manifestToml));

describe('what is remembered of a module', () => {
  it('stays small whatever the module does', () => {
    const observation = createObservation(clock);
    for (let i = 0; i < 10_000; i += 1) {
      observation.asked('READ_UTXO', true);
      const decision = {
        moduleId: 'a',
        instanceId: 'a-1',
        method: `/x.Y/M${i}`,
        permission: 'READ_UTXO',
        allowed: true,
      } as const;
      observation.decided(decision);
      observation.published(EventType.TOPIC, `a.t${i}`);
      observation.connected({ transport: 'tcp', direction: 'out', target: `h${i}.example:1` });
    }
    const seen = observation.seen();
    expect(seen.used.get('READ_UTXO')).toMatchObject({ count: 10_000n });
    expect(seen.used.get('READ_UTXO')?.methods.size).toBe(16);
    expect([seen.topics, seen.outbound].map(({ all, overflowed }) => [all.size, overflowed])).toEqual([
      [256, true],
      [256, true],
    ]);
  });

  it('leaves room above what was used, by steps, and never less than the least', () => {
    expect(roomFor(0, LIMIT_RULES.memory_mb)).toBe(64);
    expect(roomFor(100, LIMIT_RULES.memory_mb)).toBe(160);
    expect(roomFor(33, LIMIT_RULES.pids)).toBe(72);
  });
});

describe('observing a module', () => {
  it('tells used from unused and refused permissions, events too, and asks in its manifest for the used ones', async () => {
    const asked = [
      ...['read_blockchain', 'read_mempool', 'subscribe_events', 'publish_events', 'vote_governance'],
      'register_module_api',
    ];
    const rig = await external(asked, {
      modules: {
        probe: {
          run: 'external',
          unsigned: true,
          grants: asked.map(permission).filter((one) => one !== 'READ_MEMPOOL'),
        },
      },
    });
    const socketPath = await rig.open('probe');
    await ready(socketPath);
    const chain = client(ChainServiceClient, socketPath);
    const events = client(EventServiceClient, socketPath);
    for (let i = 0; i < 3; i += 1) {
      await unary((done) =>
        chain.getBlockByHeight({ height: 0, format: BlockFormat.HEADER, atTip: NONE }, done as never),
      );
    }
    const mempool = client(MempoolServiceClient, socketPath);
    expect(await reasonOf(unary((done) => mempool.getSize({ atTip: NONE }, done as never)))).toBe('MISSING_PERMISSION');
    // a module has four connections at most
    mempool.close();
    const refused = events.subscribe({ types: [EventType.MEMPOOL_TRANSACTION_ADDED], topics: [], chainCursor: [] });
    await new Promise((resolve) => refused.once('error', resolve));
    const stream = events.subscribe({
      types: [EventType.NEW_BLOCK, EventType.NEW_TRANSACTION],
      topics: [],
      chainCursor: [],
    });
    stream.on('error', () => {});
    await new Promise((resolve) => stream.once('metadata', resolve));
    const payload = {
      $case: 'topic',
      value: { topic: 'probe.news', contentType: '', body: Buffer.from('x') },
    } as never;
    const event = { sequence: 0n, timeUnixMs: 0n, source: '', replayed: false, payload };
    await unary((done) => events.publish({ event }, done as never));
    const api = client(ModuleServiceClient, socketPath);
    const offer = { methods: ['estimate'], apiVersion: 1, allowedCallers: [] };
    await unary((done) => api.registerApi(offer as never, done as never));

    const seen = rig.host.control.observation('probe', true);
    const uses = (all: GetObservationResponse['used']) => all.map((use) => [use.permission, use.count]);
    const number = (name: string): number => permissionNumber(permission(name));
    expect(uses(seen.used)).toEqual(
      [
        [number('read_blockchain'), 3n],
        // one was refused for its types, after the permission to subscribe was found
        [number('subscribe_events'), 2n],
        [number('publish_events'), 1n],
        [number('register_module_api'), 1n],
      ].sort(([a], [b]) => Number(a) - Number(b)),
    );
    expect(uses(seen.refused)).toEqual([[number('read_mempool'), 2n]]);
    expect(seen.refused[0]?.methods).toEqual(['/modhost.v1.MempoolService/GetSize']);
    expect([...seen.unused].sort()).toEqual([number('read_mempool'), number('vote_governance')].sort());
    expect(seen).toMatchObject({
      subscribed: [EventType.NEW_BLOCK, EventType.NEW_TRANSACTION].sort((a, b) => a - b),
      published: [EventType.TOPIC],
      topics: ['probe.news'],
      apiMethods: ['estimate'],
    });
    const manifest = manifestOf(seen);
    expect([...manifest.capabilities].sort()).toEqual([
      ...['PUBLISH_EVENTS', 'READ_BLOCKCHAIN', 'REGISTER_MODULE_API', 'SUBSCRIBE_EVENTS'],
    ]);
    expect(manifest.api.methods).toEqual(['estimate']);
    expect(manifest.events).toMatchObject({ topics: ['probe.news'] });
    expect([...manifest.events.subscribe].sort()).toEqual(['NewBlock', 'NewTransaction']);
    // forgotten, but for what stands
    const again = rig.host.control.observation('probe', false);
    expect(again.refused).toEqual([]);
    expect(again.used.map((use) => use.permission).sort()).toEqual(
      [number('subscribe_events'), number('register_module_api')].sort(),
    );
    expect(() => rig.host.control.observation('nobody', false)).toThrow(/no module nobody/);
  });
});

describe.skipIf(skip)('the manifest of an observation', () => {
  it('suffices: each example runs by it as by its own, and is refused nothing', async () => {
    const dir = directory();
    const examples = builtExamples().filter(({ missing, language }) => missing === undefined && language !== 'go');
    expect(examples.length).toBeGreaterThan(0);
    const run = async (name: string, pathOf: (name: string) => string) => {
      const at = join(dir, name);
      mkdirSync(at, { recursive: true });
      const node = devchain();
      const modules = examples.map(({ name }): [string, ModuleSettings] => [
        name,
        { path: pathOf(name), unsigned: true },
      ]);
      const host = hostIn(at, { node, modules: Object.fromEntries(modules) });
      await host.start();
      await node.control.mine(105);
      const outcomes = await host.autoLoad();
      expect(outcomes.flatMap(({ error }) => error?.message ?? [])).toEqual([]);
      await node.control.mine(3);
      const { height } = (await node.chain.getState(new AbortController().signal)).tip;
      const journals = examples.map(({ name }) => join(at, 'd', 'modules', name, 'journal.jsonl'));
      const isThere = (path: string) => existsSync(path) && readFileSync(path, 'utf8').includes(`"height":${height}`);
      const isThereToo = (path: string) =>
        existsSync(path) && readFileSync(path, 'utf8').includes(`"height": ${height}`);
      await until('the journals', () => journals.every((path) => isThere(path) || isThereToo(path)), 60_000);
      // one look at what they use
      await until('a measurement', () => host.list().every(({ usage }) => usage !== undefined));
      const seen = new Map(examples.map(({ name }) => [name, host.control.observation(name, false)] as const));
      await host.stop();
      return seen;
    };
    const first = await run('a', (name) => examples.find((one) => one.name === name)?.dir ?? '');
    for (const { name, dir: from } of examples) {
      const own = parseManifest(readFileSync(join(from, 'module.toml')));
      const seen = first.get(name) as GetObservationResponse;
      const smaller = manifestOf(seen);
      expect(seen.refused).toEqual([]);
      expect(own.capabilities).toEqual(expect.arrayContaining([...smaller.capabilities]));
      expect(smaller.capabilities).toContain('SUBSCRIBE_EVENTS');
      expect(smaller.events.subscribe).toContain('NewBlock');
      expect(smaller.limits.memoryMb).toBeLessThanOrEqual(own.limits.memoryMb ?? 512);
      expect(seen.readyMs).toBeGreaterThan(0n);
      const copy = join(dir, 'copies', name);
      cpSync(from, copy, { recursive: true });
      rmSync(join(copy, 'module.toml'));
      writeFileSync(join(copy, 'module.toml'), seen.manifestToml);
    }
    const second = await run('b', (name) => join(dir, 'copies', name));
    for (const [name, seen] of second) {
      expect(seen.refused, name).toEqual([]);
      expect(manifestOf(seen).capabilities, name).toEqual(
        manifestOf(first.get(name) as GetObservationResponse).capabilities,
      );
    }
  }, 180_000);
});

function permission(capability: string): Permission {
  return capability.toUpperCase() as Permission;
}
