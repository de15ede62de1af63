import { writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { createRecorder, type Recorder } from '../../conformance/node-api/recorder.js';
import { rejects } from '../../conformance/node-api/stage.js';
import { hashToDisplay } from '../../src/core/bytes.js';
import type { BitcoindOptions } from '../../src/node/bitcoind/options.js';
import type { BitcoindDoubleOptions } from '../interop/bitcoind-double.js';
import { type BitcoindBench, createBitcoindBench } from './bitcoind-subject.js';

const SETTLE_MS = 20_000;
const signal = (): AbortSignal => AbortSignal.timeout(SETTLE_MS);

describe('C165: the bitcoind adapter at a node in trouble', () => {
  let bench: BitcoindBench;
  let recorder: Recorder;

  const open = async (
    setup: Omit<BitcoindDoubleOptions, 'chain' | 'dataDir'> = {},
    options: Partial<BitcoindOptions> = {},
  ): Promise<void> => {
    bench = await createBitcoindBench(setup, options);
    recorder = createRecorder(SETTLE_MS);
    await bench.devchain.control.mine(10);
  };
  const start = async (): Promise<void> => await bench.node.start(recorder.listener, signal());
  const reached = async (hash: Uint8Array | undefined): Promise<void> => {
    const wanted = hashToDisplay(hash ?? new Uint8Array(32));
    await recorder.until(`the tip ${wanted}`, () => {
      const tip = recorder.tip();
      return tip !== undefined && hashToDisplay(tip.hash) === wanted ? true : undefined;
    });
    expect(recorder.breaches).toEqual([]);
  };
  const told = (): string[] =>
    recorder.steps(0).map((step) => `${step.type === 'BlockConnected' ? '+' : '-'}${hashToDisplay(step.hash)}`);

  afterEach(async () => await bench.dispose());

  it('tells every block in order although frames are lost', async () => {
    await open();
    await start();
    const first = await bench.devchain.control.mine(3);
    bench.double.loseFrames(4);
    const lost = await bench.devchain.control.mine(4);
    const last = await bench.devchain.control.mine(1);
    await reached(last[0]);
    expect(told()).toEqual([...first, ...lost, ...last].map((hash) => `+${hashToDisplay(hash)}`));
  });

  it('finds the last block although its frame, and every later one, is lost', async () => {
    await open();
    await start();
    bench.double.loseFrames(1_000);
    const mined = await bench.devchain.control.mine(2);
    await reached(mined[1]);
    const { connected: branch } = await bench.devchain.control.reorg(2);
    await reached(branch[2]);
    expect(told().length).toBe(2 + 2 + 3);
  });

  it('starts at a node that still warms up, as soon as it is warm', async () => {
    await open();
    const warm = bench.double.warmUp();
    const starting = start();
    await new Promise((resolve) => setTimeout(resolve, 300));
    warm();
    await starting;
    const [hash] = await bench.devchain.control.mine(1);
    await reached(hash);
  });

  it('names a warm-up as such, with a time to come back', async () => {
    await open();
    await start();
    const warm = bench.double.warmUp();
    const error = await rejects(bench.node.chain.getHash(5, signal()), 'NODE_SYNCING');
    expect(error.retryAfterMs).toBeGreaterThan(0);
    warm();
    await bench.node.chain.getHash(5, signal());
  });

  it('waits a little when the work queue is full, and gives up as busy when it stays full', async () => {
    await open({}, { zmq: false, longPoll: false });
    await start();
    bench.double.refuse(1);
    await bench.node.chain.getHash(5, signal());
    bench.double.refuse(1_000);
    const error = await rejects(bench.node.chain.getHash(6, signal()), 'NODE_BUSY');
    expect(error.retryAfterMs).toBeGreaterThan(0);
  });

  it('answers NODE_UNAVAILABLE to a reset connection, and goes on', async () => {
    await open();
    await start();
    bench.double.reset(50);
    await rejects(bench.node.chain.getHash(5, signal()), 'NODE_UNAVAILABLE');
    bench.double.reset(-50);
    const [hash] = await bench.devchain.control.mine(1);
    await reached(hash);
  });

  it('keeps a slow node from mixing up answers', async () => {
    await open();
    await start();
    bench.double.slow(200);
    const heights = [1, 2, 3, 4, 5];
    const hashes = await Promise.all(heights.map((height) => bench.node.chain.getHash(height, signal())));
    bench.double.slow(0);
    for (const [i, hash] of hashes.entries()) {
      expect((await bench.node.chain.getHeader(hash, signal())).height).toBe(heights[i]);
    }
  });

  it('takes the new cookie after a restart, and tells the reorganisation that happened meanwhile', async () => {
    await open();
    await start();
    const old = await bench.devchain.control.mine(2);
    await reached(old[1]);
    await bench.double.stop();
    const { connected: branch } = await bench.devchain.control.reorg(2);
    await bench.double.start();
    await reached(branch[2]);
    expect(told()).toEqual([
      ...old.map((hash) => `+${hashToDisplay(hash)}`),
      ...[...old].reverse().map((hash) => `-${hashToDisplay(hash)}`),
      ...branch.map((hash) => `+${hashToDisplay(hash)}`),
    ]);
  });

  it('says NODE_AUTH for wrong credentials', async () => {
    await open();
    await writeFile(bench.double.cookieFile, '__cookie__:00');
    await rejects(start(), 'NODE_AUTH');
  });

  it('says NODE_UNAVAILABLE when nothing listens', async () => {
    await open();
    await bench.double.stop();
    await rejects(
      bench.node.start(recorder.listener, AbortSignal.timeout(3_000)),
      'NODE_UNAVAILABLE',
      'NODE_AUTH',
      'CANCELLED',
    );
  });

  it('names a pruned block, over RPC and over REST, and still gives its header', async () => {
    for (const rest of [false, true]) {
      await open({ rest });
      await start();
      bench.double.settings.prunedBelow = 8;
      const hash = await bench.node.chain.getHash(7, signal());
      await rejects(bench.node.chain.getBlock(hash, signal()), 'BLOCK_PRUNED');
      expect((await bench.node.chain.getHeader(hash, signal())).height).toBe(7);
      const info = await bench.node.getInfo(signal());
      expect([info.pruned, info.pruneHeight]).toEqual([true, 8]);
      if (!rest) await bench.dispose();
    }
  });

  it('tells an initial download as such', async () => {
    await open();
    bench.double.settings.initialBlockDownload = true;
    await start();
    expect((await bench.node.getInfo(signal())).initialBlockDownload).toBe(true);
    const sync = await bench.node.chain.getSync(signal());
    expect(sync.initialBlockDownload).toBe(true);
    expect(sync.phase).not.toBe('synced');
    expect(sync.headers).toBeGreaterThan(sync.blocks);
  });

  it('reads blocks over REST where it is on, and over RPC where it is off', async () => {
    await open({ rest: true });
    await start();
    const hash = await bench.node.chain.getHash(3, signal());
    const before = bench.double.calls.get('getblock') ?? 0;
    await bench.node.chain.getBlock(hash, signal());
    expect(bench.double.calls.get('getblock') ?? 0).toBe(before);
    bench.double.settings.rest = false;
    expect((await bench.node.chain.getBlock(hash, signal())).height).toBe(3);
    expect(bench.double.calls.get('getblock') ?? 0).toBe(before + 1);
  });
});
