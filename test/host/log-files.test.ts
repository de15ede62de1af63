import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger, type Logger } from '../../src/core/logger.js';
import { createAudit } from '../../src/host/audit.js';
import { createLogBook } from '../../src/host/log-book.js';
import { createLogFiles, LOG_FILES } from '../../src/host/log-files.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { createSpawnedHost, until } from './spawned-host.js';

const { skip } = await sandboxToolchain();
/** Small files, so that a flood of seconds turns them over as one of hours does real ones. */
const SMALL = 64 * 1024;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mh-logs-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Objects in the files of one log, the oldest first. */
function kept(kind: 'log' | 'audit', name: string, at = dir): Record<string, unknown>[] {
  const numbers = Array.from({ length: LOG_FILES }, (_, index) => LOG_FILES - 1 - index);
  return numbers.flatMap((number) => {
    try {
      const text = readFileSync(join(at, kind, `${name}.jsonl${number === 0 ? '' : `.${number}`}`), 'utf8');
      return text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  });
}

const bytesIn = (path: string): number =>
  readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);

describe('log files', () => {
  it('C158: are bounded for each module, whose flood of lines and refusals moves aside nothing but its own', async () => {
    const clock = createSystemClock();
    const files = createLogFiles(dir, clock, SMALL);
    const passed: string[] = [];
    const logger: Logger = { ...createSilentLogger(), info: (_fields, message) => void passed.push(message) };
    const book = createLogBook({ ...logger, child: () => logger }, clock, files.line);
    const audit = createAudit(clock, files.audit);
    const flood = book.forModule('flood', 1e9).sink('STDOUT');
    const other = book.forModule('other', 1e9).sink('RECORD');
    const line = { level: 'info', target: '', timeUnixMs: 0n, fields: [] } as const;
    for (let n = 0; n < 40_000; n += 1) {
      flood.write({ ...line, message: `${n} ${'x'.repeat(200)}` });
      audit.record({ kind: 'CALL_DENIED', moduleId: 'flood', method: `/${n}`, reason: 'MISSING_PERMISSION' });
      if (n % 400 === 0) {
        other.write({ ...line, message: `${n}` });
        audit.record({ kind: 'ACTED', moduleId: 'other', method: `/${n}` });
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    // a disk that falls behind loses lines of the flood, and none of those that come when it has caught up
    await until('a last line', () => {
      flood.write({ ...line, message: 'the last' });
      return kept('log', 'flood').at(-1)?.msg === 'the last';
    });
    book.host.info({}, 'of the host');
    audit.flush();
    await files.close();
    const numbers = Array.from({ length: 100 }, (_, index) => index * 400);
    expect(kept('log', 'other').map(({ msg }) => Number(msg))).toEqual(numbers);
    // entries wait a second for equal ones, unless too many wait already
    const methods = kept('audit', 'other').map(({ method }) => Number(String(method).slice(1)));
    expect(methods.sort((a, b) => a - b)).toEqual(numbers);
    expect(kept('log', 'host')).toMatchObject([{ msg: 'of the host', level: 'info', source: 'host' }]);
    // the newest of the flood are there, and its files are as many and as large as they may be
    expect(kept('log', 'flood').at(-1)?.msg).toBe('the last');
    expect(kept('audit', 'flood').length).toBeGreaterThan(500);
    expect(kept('audit', 'flood').at(-1)).toMatchObject({
      kind: 'call_denied',
      reason: 'MISSING_PERMISSION',
      count: 1,
    });
    for (const kind of ['log', 'audit']) {
      const sizes = readdirSync(join(dir, kind)).map((name) => statSync(join(dir, kind, name)).size);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(SMALL);
      expect(sizes.length).toBeLessThanOrEqual(LOG_FILES + 2);
    }
    // what a pipe or a journal gets is bounded too: the host's own words
    expect(passed).toEqual(['of the host']);
    // and in the memory the other one's lines stand beside the flood
    expect(book.lines.tail(100_000, ({ module }) => module === 'other')).toHaveLength(100);
    expect(audit.entries.tail(100_000, ({ module }) => module === 'other')).toHaveLength(100);
  });

  it.skipIf(skip)('C158: hold every line of a module while another prints without end', async () => {
    const logDir = join(dir, 'kept');
    const flood = '#!/bin/sh\nexec yes a line of a flood\n';
    const steady =
      '#!/bin/sh\nn=0\nwhile [ $n -lt 40 ]; do n=$((n+1)); echo "line $n"; sleep 0.05; done\nexec sleep 60\n';
    const rig = await createSpawnedHost({ flood: { executable: flood }, steady: { executable: steady } }, { logDir });
    try {
      for (const name of ['flood', 'steady']) rig.host.load(name).catch(() => undefined);
      const lines = () => kept('log', 'steady', logDir).filter(({ source }) => source === 'stdout');
      await until('the last line', () => lines().some(({ msg }) => msg === 'line 40'), 45_000);
      expect(lines().map(({ msg }) => msg)).toEqual(Array.from({ length: 40 }, (_, index) => `line ${index + 1}`));
      const flooded = kept('log', 'flood', logDir);
      expect(flooded.filter(({ msg }) => msg === 'a line of a flood').length).toBeGreaterThan(1_000);
      expect(bytesIn(join(logDir, 'log'))).toBeLessThan(3 * LOG_FILES * 8 * 1024 * 1024);
    } finally {
      await rig.dispose();
    }
  });
});
