import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { afterEach, describe, expect, it } from 'vitest';

import { connectBitcoind } from '../../src/node/bitcoind/connect.js';
import { BITCOIND_METHODS } from '../../src/node/bitcoind/methods.js';
import { bitcoindOptionsSchema } from '../../src/node/bitcoind/options.js';
import { rpcauthOf } from '../../src/node/bitcoind/rpcauth.js';
import { connectBtcd } from '../../src/node/btcd/connect.js';
import type { ConnectReport } from '../../src/node/jsonrpc/connect-report.js';
import { parseNodeConfig } from '../../src/node/jsonrpc/node-config-file.js';
import { type BitcoindBench, createBitcoindBench } from './bitcoind-subject.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const signal = (): AbortSignal => AbortSignal.timeout(30_000);
const zeros = (count: number): Uint8Array => new Uint8Array(count);
const keysOf = (report: ConnectReport): string[] => report.nodeLines.map(({ line }) => line.split('=')[0] ?? '');

async function directory(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'modhost-connect-'));
  cleanups.push(() => rm(made, { recursive: true }));
  return made;
}

async function bench(...setup: Parameters<typeof createBitcoindBench>): Promise<BitcoindBench> {
  const made = await createBitcoindBench(...setup);
  cleanups.push(() => made.dispose());
  return made;
}

describe('rpcauth', () => {
  it("is what Bitcoin Core's own tool makes (vector of its functional test rpc_users.py)", () => {
    const salt = Buffer.from('93648e835a54c573682c2eb19f882535', 'hex');
    expect(rpcauthOf('rt', 'cA773lm788buwYe4g4WT+05pKyNruVKjQ25x3n0DQcM=', salt)).toBe(
      'rt:93648e835a54c573682c2eb19f882535$7681e9c5b74bdd85e78166031d2058e1069b3ed7ed967c93fc63abba06f31144',
    );
  });
});

describe('configuration files of nodes', () => {
  it('are read with sections, dotted keys and comments', () => {
    const text = '# head\nserver=1\n rpcport = 1 # why\nregtest.rpcport=2\n[signet]\nrpcport=3\n; btcd\nbroken\n=x\n';
    expect(parseNodeConfig(text)).toEqual([
      { section: '', key: 'server', value: '1' },
      { section: '', key: 'rpcport', value: '1' },
      { section: 'regtest', key: 'rpcport', value: '2' },
      { section: 'signet', key: 'rpcport', value: '3' },
    ]);
  });
});

describe('connect to Bitcoin Core', () => {
  it('finds the node by its cookie and prints what it lacks', async () => {
    const { double } = await bench({ zmqTopics: [] });
    await writeFile(join(double.dataDir, 'bitcoin.conf'), `regtest=1\nregtest.rpcport=${double.port}\n`);
    const report = await connectBitcoind({ dataDir: double.dataDir }, zeros, signal());
    expect(report).toMatchObject({ kind: 'bitcoind', network: 'regtest', url: double.url, reachable: true });
    expect(keysOf(report)).toEqual([
      'rpcauth',
      'rpcwhitelist',
      'rpcwhitelistdefault',
      'zmqpubsequence',
      'rest',
      'txindex',
    ]);
    const whitelist = report.nodeLines.find(({ line }) => line.startsWith('rpcwhitelist='));
    expect(whitelist?.line).toBe(`rpcwhitelist=modhost:${BITCOIND_METHODS.join(',')}`);
  });

  it('prints a [node] table that the schema takes', async () => {
    const { double } = await bench({});
    const { hostLines } = await connectBitcoind({ dataDir: double.dataDir, url: double.url }, zeros, signal());
    expect(hostLines[0]).toBe('[node]');
    const { kind, ...rest } = parseToml(hostLines.join('\n')).node as Record<string, unknown>;
    expect(kind).toBe('bitcoind');
    expect(bitcoindOptionsSchema.parse(rest)).toMatchObject({ url: double.url, user: 'modhost', network: 'regtest' });
  });

  it('lacks nothing where everything is there', async () => {
    const user = { name: 'modhost', password: 'secret' };
    const { double } = await bench({ zmqTopics: ['sequence'], rest: true, txindex: true, user });
    const options = { dataDir: double.dataDir, url: double.url, user: user.name, password: user.password };
    const report = await connectBitcoind(options, zeros, signal());
    expect(report).toMatchObject({ reachable: true, nodeLines: [] });
  });

  it('names the whole list again when a whitelist lacks a call, and leaves an existing default alone', async () => {
    const { double } = await bench({ rest: true, txindex: true });
    await writeFile(join(double.dataDir, 'bitcoin.conf'), 'regtest=1\nrpcwhitelist=modhost:getblock,getblockhash\n');
    const report = await connectBitcoind({ dataDir: double.dataDir, url: double.url }, zeros, signal());
    expect(keysOf(report)).toEqual(['rpcauth', 'rpcwhitelist']);
  });

  it('does not advise an index to a pruned node', async () => {
    const { double } = await bench({ rest: true });
    double.settings.prunedBelow = 1;
    const report = await connectBitcoind({ dataDir: double.dataDir, url: double.url }, zeros, signal());
    expect(keysOf(report)).not.toContain('txindex');
  });

  it('changes nothing at the node', async () => {
    const { double, devchain } = await bench({ user: { name: 'modhost', password: 'secret' } });
    await devchain.control.mine(3);
    const options = { dataDir: double.dataDir, url: double.url, user: 'modhost', password: 'secret' };
    await connectBitcoind(options, zeros, signal());
    expect((await devchain.chain.getState(signal())).tip.height).toBe(3);
  });

  it('tells what to write where no node answers', async () => {
    const dataDir = await directory();
    await mkdir(join(dataDir, 'signet'));
    await writeFile(join(dataDir, 'bitcoin.conf'), 'chain=signet\n[signet]\nrpcport=1\n');
    const report = await connectBitcoind({ dataDir }, zeros, signal());
    expect(report).toMatchObject({ network: 'signet', url: 'http://127.0.0.1:1', reachable: false, version: '' });
    expect(keysOf(report)).toEqual([
      'server',
      'rpcauth',
      'rpcwhitelist',
      'rpcwhitelistdefault',
      'zmqpubsequence',
      'rest',
      'txindex',
    ]);
  });
});

describe('connect to btcd', () => {
  it('reads its configuration, and tells what to write where no node answers', async () => {
    const home = await directory();
    await writeFile(join(home, 'btcd.conf'), '[Application Options]\nregtest=1\nrpcuser=me\nrpcpass=secret\n');
    const report = await connectBtcd({ home, url: 'https://127.0.0.1:1' }, zeros, signal());
    expect(report).toMatchObject({ kind: 'btcd', network: 'regtest', reachable: false });
    expect(keysOf(report)).toEqual(['txindex']);
    expect(report.hostLines).toContain('user = "me"');
    expect(report.hostLines).toContain(`tls_ca = ${JSON.stringify(join(home, 'rpc.cert'))}`);
  });

  it('makes a user where there is none', async () => {
    const report = await connectBtcd({ home: await directory(), url: 'http://127.0.0.1:1' }, zeros, signal());
    expect(keysOf(report)).toEqual(['rpcuser', 'rpcpass', 'txindex']);
    expect(report.hostLines).toContain('tls = false');
  });
});
