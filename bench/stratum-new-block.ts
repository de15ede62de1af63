/**
 * `npm run bench:stratum`: how long a new block takes from the node to a miner, over a real btcd, the host and the
 * Stratum V2 module in its sandbox. Prints a table; asserts nothing.
 *
 * MODHOST_BENCH_BLOCKS: how many [200].
 */
import { hashToDisplay } from '../src/core/bytes.js';
import type { NodeApi, NodeListener } from '../src/node/node-api.js';
import { startProbe } from '../test/interop/stratum/programs.js';
import { startRig } from '../test/interop/stratum/rig.js';

const BLOCKS = Number(process.env.MODHOST_BENCH_BLOCKS ?? 200);
/** Blocks before the measurement, so that both runtimes have compiled their hot paths. */
const WARM_UP = 20;

/** Microseconds since 1970, on the clock of the probe. */
const nowUs = (): number => (performance.timeOrigin + performance.now()) * 1_000;

/** Notes when the adapter tells the host of a tip. */
function noting(node: NodeApi, told: Map<string, number>): NodeApi {
  const start: NodeApi['start'] = (listener, signal) => {
    const noted: NodeListener = (event) => {
      if (event.type === 'NewTip') told.set(hashToDisplay(event.previousHash), nowUs());
      listener(event);
    };
    return node.start(noted, signal);
  };
  return new Proxy(node, { get: (of, key) => (key === 'start' ? start : Reflect.get(of, key)) });
}

/** A share of the sorted values, milliseconds with two digits. */
function quantile(sorted: readonly number[], share: number): string {
  const at = Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1);
  return ((sorted[at] ?? Number.NaN) / 1_000).toFixed(2);
}

const told = new Map<string, number>();
const rig = await startRig({ wrapNode: (node) => noting(node, told) });
try {
  const connect = `127.0.0.1:${rig.poolPort}`;
  const miner = startProbe('mine', { connect, authority: rig.authority, identity: 'bench' });
  await miner.until('the first tip', () => miner.of('tip').length > 0);
  const spans: Record<string, number[]> = { 'node, from the request to mine': [], 'host and module': [], whole: [] };
  for (let block = 0; block < WARM_UP + BLOCKS; block += 1) {
    const asked = nowUs();
    const [hash = ''] = await rig.btcd.rpc<string[]>('generate', [1]);
    const arrival = () => miner.of('tip').find(({ prev }) => prev === hash)?.at;
    await miner.until(`block ${block}`, () => arrival() !== undefined);
    const [heard, arrived] = [told.get(hash), arrival()];
    if (block < WARM_UP || heard === undefined || arrived === undefined) continue;
    spans['node, from the request to mine']?.push(heard - asked);
    spans['host and module']?.push(arrived - heard);
    spans.whole?.push(arrived - asked);
  }
  await miner.stop();
  process.stdout.write('| span | blocks | median ms | p99 ms | max ms |\n|---|---|---|---|---|\n');
  for (const [name, values] of Object.entries(spans)) {
    const sorted = values.sort((a, b) => a - b);
    const row = [name, sorted.length, quantile(sorted, 0.5), quantile(sorted, 0.99), quantile(sorted, 1)];
    process.stdout.write(`| ${row.join(' | ')} |\n`);
  }
  const own = (await rig.metrics()).match(/^modhost_module_tip_to_miner_seconds.*$/gm) ?? [];
  process.stdout.write(
    `\nThe module's own part, by its histogram:\n\n${own.map((line) => `    ${line}`).join('\n')}\n`,
  );
} finally {
  await rig.dispose();
}
