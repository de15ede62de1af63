import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireToolchain } from '../../toolchain.js';
import { compileProbes, compilerPresence } from './compile.js';
import type { SuiteReport } from './suite.js';
import { runAsUnit } from './unit-restrictions.js';

const { skip } = requireToolchain('the probes in C', compilerPresence());
/** What systemd does as root, and the numbers of calls on this architecture. */
const canBeUnit = process.getuid?.() === 0 && process.arch === 'x64';

describe.skipIf(skip || !canBeUnit)('under the restrictions of the systemd unit', () => {
  let parent: string;
  beforeAll(async () => {
    // not below /tmp, of which a unit has one of its own
    parent = await mkdtemp('/var/tmp/mh-unit-');
    await chmod(parent, 0o711);
    await mkdir(join(parent, 'build'));
    await chmod(join(parent, 'build'), 0o755);
    await compileProbes(join(parent, 'build'));
  });
  afterAll(() => rm(parent, { recursive: true, force: true }));

  it('the sandbox is as strong as without: every guarantee, and no probe gets anything', async () => {
    const suite = join(import.meta.dirname, 'suite-program.ts');
    const secret = randomBytes(16).toString('hex');
    const out = await runAsUnit(suite, [join(parent, 'build'), parent], parent, { MODHOST_TEST_SECRET: secret });
    const report = JSON.parse(out) as SuiteReport;
    const weak = report.containment.filter(({ name, state }) => state !== 'enforced' && name !== 'disk');
    expect(weak).toEqual([]);
    expect(report.ownUsers).toBe(true);
    const done = Object.entries(report.inside).filter(([, { outcome }]) => outcome === 'done');
    // the controls show that the probes ran at all
    expect(done.map(([name]) => name).filter((name) => !name.includes('control-'))).toEqual([]);
    expect(done.length).toBeGreaterThan(4);
    expect(Object.values(report.inside).filter(({ found }) => found.includes(secret))).toEqual([]);
    expect(Object.keys(report.inside).length).toBeGreaterThan(60);
  });

  it('`modhost doctor` finds the default minimum met', async () => {
    const main = join(import.meta.dirname, '../../../src/cli/main.ts');
    const out = await runAsUnit(main, ['doctor'], parent, { HOME: parent });
    expect(out).toMatch(/minimum\s+confined: met/);
  });
});
