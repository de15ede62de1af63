/** Everybody who is no miner, against the whole module in its sandbox, while an honest miner mines. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { sandboxToolchain } from '../../sandbox/spawn-module.js';
import { requireToolchain } from '../../toolchain.js';
import { btcdAvailable } from '../btcd.js';
import { stratumPresence } from './apps.js';
import { EXAMPLE_KEYS, type Probe, startProbe } from './programs.js';
import { type Rig, startRig } from './rig.js';

const tools = [
  requireToolchain('btcd', await btcdAvailable()),
  requireToolchain('the Stratum V2 programs', stratumPresence()),
  await sandboxToolchain(),
];

const FRAMES = Number(process.env.MODHOST_STRATUM_FRAMES ?? 10_000);
const SEED = Number(process.env.MODHOST_TEST_SEED ?? randomBytes(4).readUInt32LE() >>> 1);
/** Connections that say nothing. */
const IDLE = 500;
/** Handshakes that must not succeed. */
const HANDSHAKES = 100;
/** How long the silent ones are waited for, seconds: a handshake may take five. */
const IDLE_SECONDS = 60;
/** Longest time for all frames to one port, milliseconds: most cost a handshake each. */
const FRAMES_MS = 600_000;

describe.skipIf(tools.some(({ skip }) => skip))('a pool among everybody who is no miner', () => {
  let rig: Rig;
  let honest: Probe;
  let pid: number;

  beforeAll(async () => {
    process.stderr.write(`stratum, hostile: seed ${SEED}\n`);
    rig = await startRig({ config: { max_connections: 1_000, max_connections_per_ip: 900 } });
    pid = rig.pid();
    honest = startProbe('mine', {
      connect: at(rig.poolPort),
      authority: rig.authority,
      identity: 'honest',
      'per-second': 2,
    });
    await honest.until('a first acknowledgement', () => honest.of('ack').length > 0);
  });
  afterAll(async () => {
    await honest?.stop();
    await rig?.dispose();
  });

  const at = (port: number): string => `127.0.0.1:${port}`;
  const acknowledged = (): number => honest.of('ack').reduce((sum, { count }) => sum + Number(count), 0);

  /** Runs a probe to its end; the honest miner must get further meanwhile, on the connection that it has. */
  async function run(command: string, options: Readonly<Record<string, string | number>>) {
    const before = acknowledged();
    const probe = startProbe(command, options);
    onTestFinished(() => probe.stop());
    const { code, errors } = await probe.ended;
    expect(code, errors).toBe(0);
    await honest.until('a further acknowledgement', () => acknowledged() > before);
    expect(honest.of('open')).toHaveLength(1);
    expect(rig.pid()).toBe(pid);
    return probe;
  }

  it.each([
    ['the pool', () => rig.poolPort, 0.75],
    ['the template provider', () => rig.templatePort, 0.25],
  ] as const)(
    '%s takes malformed and misplaced frames by the thousand',
    async (_, port, share) => {
      const count = Math.round(FRAMES * share);
      const probe = await run('frames', { connect: at(port()), authority: rig.authority, count, seed: SEED });
      expect(probe.of('frames')[0]).toMatchObject({ sent: count });
    },
    FRAMES_MS,
  );

  it('lets nobody in under a wrong key, and nobody who does not shake hands', async () => {
    const options = { connect: at(rig.poolPort), wrong: EXAMPLE_KEYS.publicKey, count: HANDSHAKES, seed: SEED };
    const probe = await run('handshakes', options);
    expect(probe.of('handshakes')[0]).toMatchObject({ succeeded: 0 });
  });

  it('holds 500 connections that say nothing, and closes each when its time is up', async () => {
    const probe = await run('idle', { connect: at(rig.poolPort), count: IDLE, seconds: IDLE_SECONDS });
    expect(probe.of('idle-open')[0]).toMatchObject({ open: IDLE, refused: 0 });
    expect(probe.of('idle-end')[0]).toMatchObject({ standing: 0 });
  });

  it('has lost no share of the honest miner', async () => {
    await honest.stop();
    const refused = honest.of('no').filter(({ code }) => code !== 'stale-share');
    expect(refused).toEqual([]);
    const hashes = honest.of('ack').flatMap(({ hashes: known }) => known as string[]);
    expect(hashes.length).toBeGreaterThan(10);
    const { shares } = await rig.command<{ shares: { hash: string }[] }>('shares', '--json', '--count', '5000');
    const kept = new Set(shares.map(({ hash }) => hash));
    expect(hashes.filter((hash) => !kept.has(hash))).toEqual([]);
  });
});
