import { readFileSync, writeFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { SDK_VERSION } from '../../src/sdk/handshake.js';
import { createChannel, createClients, handshake, ModhostError, type ModhostReason } from '../../src/sdk/index.js';
import { withRetry } from '../../src/sdk/retry.js';
import { createSdkRig, type SdkRig, type SdkRigOptions, VERSION } from './sdk-rig.js';

const rigs: SdkRig[] = [];
const rigOf = async (options?: SdkRigOptions): Promise<SdkRig> => {
  const rig = await createSdkRig(options);
  rigs.push(rig);
  return rig;
};
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.dispose();
});

/** The error of work that must fail. */
async function failure(work: Promise<unknown>): Promise<ModhostError> {
  const error = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ModhostError);
  return error as ModhostError;
}
const reason = async (work: Promise<unknown>): Promise<ModhostReason> => (await failure(work)).reason;

/** A clock that jumps ahead at every look, so that nothing waits long. */
function hastyClock() {
  let now = 0;
  return { monotonicMs: () => (now += 2_000), unixMs: () => Date.now() };
}

describe('connect', () => {
  it('shakes hands and gives what the host told', async () => {
    const rig = await rigOf({ configJson: '{"name":"x","big":9007199254740993}' });
    const module = await rig.connect();
    expect(module.name).toBe('probe');
    expect(module.instanceId).toBe('probe-1');
    expect(module.dataDir).toBe(rig.env.MODHOST_DATA_DIR);
    expect(module.context.network).toBe('regtest');
    expect(module.config).toMatchObject({ name: 'x' });
    expect(module.configJson).toContain('9007199254740993');
    expect(rig.life.session.state()).toBe('open');
    await module.starting(40, 'scanning');
    expect(rig.life.startings).toEqual(['40 scanning']);
    await module.ready();
    await module.ready();
    expect(rig.life.readies).toBe(1);
  });

  it('tells a person who started it by hand what to do', async () => {
    const rig = await rigOf();
    const error = await failure(rig.connect({ env: {} }));
    expect(error.reason).toBe('NOT_STARTED_BY_HOST');
    expect(error.message).toContain('modhost run');
    expect(await reason(rig.connect({ env: { ...rig.env, MODHOST_TOKEN_FILE: '/nowhere' } }))).toBe(
      'NOT_STARTED_BY_HOST',
    );
  });

  it('fails with the reason of the handshake', async () => {
    const rig = await rigOf();
    expect(await reason(rig.connect({ version: '9.9.9' }))).toBe('VERSION_MISMATCH');
    expect(await reason(rig.connect({ env: { ...rig.env, MODHOST_MODULE_ID: 'other' } }))).toBe('IDENTITY_MISMATCH');
    writeFileSync(rig.env.MODHOST_TOKEN_FILE ?? '', new Uint8Array(32));
    expect(await reason(rig.connect())).toBe('BAD_TOKEN');
  });

  it('gives up on a socket where nobody answers', async () => {
    const rig = await rigOf();
    await rig.crash();
    expect(await reason(rig.connect({ clock: hastyClock() }))).toBe('HOST_UNREACHABLE');
  });

  it('takes larger messages where the host allows them', async () => {
    const rig = await rigOf({ limits: { maxMessageBytes: 8 * 1024 * 1024 } });
    const module = await rig.connect();
    expect((await module.chain.getChainTip()).height).toBe(2);
  });

  it('names the version of the package', () => {
    expect(SDK_VERSION).toBe((JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version);
  });

  it('can be done by hand, part by part', async () => {
    const rig = await rigOf();
    const channel = createChannel(rig.env.MODHOST_SOCKET ?? '');
    const clients = createClients(channel);
    const token = new Uint8Array(readFileSync(rig.env.MODHOST_TOKEN_FILE ?? ''));
    const { context } = await handshake(clients.session, { token, name: 'probe', version: VERSION });
    expect(context.protocolVersion).toBe(1);
    const { height } = await clients.chain.getChainTip();
    expect(height).toBe(2);
    for await (const first of clients.event.subscribe({ types: [16] })) {
      expect(first.live).toBe(true);
      break;
    }
    channel.close();
  });
});

describe('calls', () => {
  it('fill in what a request leaves out, and fail with reason and code', async () => {
    const rig = await rigOf({ permissions: ['READ_BLOCKCHAIN'] });
    const module = await rig.connect();
    const { hash, body } = await module.chain.getBlockByHeight({ height: 1 });
    expect(body?.$case).toBe('raw');
    expect((await module.chain.getBlockHeader({ hash })).header?.height).toBe(1);

    const unknown = await failure(module.chain.getBlock({ hash: new Uint8Array(32) }));
    expect([unknown.reason, unknown.code]).toEqual(['BLOCK_NOT_FOUND', status.NOT_FOUND]);
    const malformed = await failure(module.chain.getBlock({ hash: new Uint8Array(3) }));
    expect([malformed.reason, malformed.code]).toEqual(['INVALID_REQUEST', status.INVALID_ARGUMENT]);
    const denied = await failure(module.chain.getChainTip());
    expect([denied.reason, denied.code]).toEqual(['MISSING_PERMISSION', status.PERMISSION_DENIED]);
    // this host has no such service at all
    expect(await reason(module.clients.timer.listTimers())).toBe('UNKNOWN_METHOD');
  });

  it('carry the wait that the host asks for, and withRetry waits it', async () => {
    const rig = await rigOf({ callsPerSecond: 20 });
    const module = await rig.connect();
    const many = await Promise.allSettled(Array.from({ length: 40 }, () => module.chain.getChainTip()));
    const refused = many.flatMap((result) => (result.status === 'rejected' ? [ModhostError.from(result.reason)] : []));
    expect(new Set(refused.map((error) => error.reason))).toEqual(new Set(['RATE_LIMITED']));
    expect(refused[0]?.retryAfterMs).toBeGreaterThan(0);
    expect((await withRetry(() => module.chain.getChainTip())).height).toBe(2);
    expect(await reason(withRetry(() => module.chain.getBlock({ hash: new Uint8Array(1) })))).toBe('INVALID_REQUEST');
  });

  it('end at their deadline and when their signal fires', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    rig.node.chain.getState = () => new Promise(() => {});
    const late = await failure(module.chain.getChainTip({}, { timeoutMs: 50 }));
    expect([late.reason, late.code]).toEqual(['DEADLINE_EXCEEDED', status.DEADLINE_EXCEEDED]);
    const stop = new AbortController();
    const cut = failure(module.chain.getChainTip({}, { signal: stop.signal }));
    setTimeout(() => stop.abort(), 20);
    expect((await cut).reason).toBe('CANCELLED');
    expect(await reason(module.chain.getChainTip({}, { signal: stop.signal }))).toBe('CANCELLED');
  });

  it('stream until the reader leaves', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    await rig.node.control.mine(30);
    const heights: number[] = [];
    for await (const { height } of module.chain.streamBlocks({ fromHeight: 1 })) {
      heights.push(height);
      if (height === 12) break;
    }
    expect(heights).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    const failing = module.chain.streamBlocks({ fromHeight: 9_999 });
    expect(await reason(failing.next())).toBe('NO_CHAIN_HEIGHT');
    const stop = new AbortController();
    stop.abort();
    expect(await reason(module.chain.streamBlocks({}, { signal: stop.signal }).next())).toBe('CANCELLED');
  });

  it('fail with SESSION_CLOSED after the end', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    await module.close();
    await module.close();
    expect(module.ended.aborted).toBe(true);
    expect(await reason(module.chain.getChainTip())).toBe('SESSION_CLOSED');
    expect(await reason(module.chain.streamHeaders({}).next())).toBe('SESSION_CLOSED');
  });
});

describe('the log', () => {
  it('arrives in order with its fields, and what waits goes out at the end', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    for (let i = 0; i < 250; i++) module.log.info(`line ${i}`, { i });
    module.log
      .child('wallet')
      .child('sync')
      .error('broken', { cause: new Error('why'), circular, big: 5n });
    await module.close();
    module.log.warn('nobody hears this');
    expect(rig.lines.map(({ message }) => message)).toEqual([
      ...Array.from({ length: 250 }, (_, i) => `line ${i}`),
      'broken',
    ]);
    const [first] = rig.lines;
    expect(first?.fields).toEqual([['i', '0']]);
    const last = rig.lines.at(-1);
    expect([last?.level, last?.target]).toEqual(['error', 'wallet.sync']);
    expect(last?.fields).toEqual([
      ['cause', 'why'],
      ['circular', '[unprintable]'],
      ['big', '5'],
    ]);
  });

  it('goes on after a lost connection, and tells how many records found no room', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    module.log.info('before');
    await expect.poll(() => rig.lines.length).toBe(1);
    rig.life.server.dropConnections();
    // until the client has noticed, records vanish in the broken connection
    await expect.poll(() => rig.life.server.connectionCount()).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (let i = 0; i < 3_000; i++) module.log.debug(`flood ${i}`);
    await expect.poll(() => rig.lines.length, { timeout: 10_000 }).toBeGreaterThan(900);
    module.log.info('after');
    await expect.poll(() => rig.lines.at(-1)?.message, { timeout: 10_000 }).toBe('after');
    expect(rig.lines.some(({ message }) => /^\d+ records were lost/.test(message))).toBe(true);
  });
});
