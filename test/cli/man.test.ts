import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/contract/descriptors.js';
import { requireToolchain } from '../toolchain.js';
import { createAsker, createPlace } from './command-line.js';
import { groffPresence } from './groff-presence.js';

const { skip } = requireToolchain('groff', groffPresence());

const place = createPlace();
const ask = createAsker(place);
let page = '';

beforeAll(async () => {
  page = (await ask('man')).out;
  await place.dispose();
});

describe('the manual page', () => {
  it('that is committed is what the program says of itself; if not: npm run man', () => {
    expect(readFileSync(join(packageRoot(), 'man/modhost.1'), 'utf8')).toBe(page);
  });

  it('names every command, its options, exit codes and environment', () => {
    for (const word of ['modhost run', 'modhost top', 'modhost cli', 'modhost devchain mine', 'modhost completion']) {
      expect(page).toContain(`.B ${word}`);
    }
    for (const word of [
      '\\-\\-allow\\-unsigned <name>',
      '\\-\\-sort <figure>',
      'MODHOST_NODE_PASSWORD',
      'EXIT STATUS',
    ]) {
      expect(page).toContain(word);
    }
    // the words that are asked by scripts alone are nobody's business
    expect(page).not.toContain('modhost complete\n');
  });

  it('holds no line that troff would take for a request, and nothing but ASCII', () => {
    const requests = new Set(['.\\"', '.TH', '.SH', '.TP', '.B', '.I', '.RI', '.PP', '.RS', '.RE']);
    for (const line of page.trimEnd().split('\n')) {
      if (/^[.']/.test(line)) expect(requests).toContain(line.split(' ')[0]);
      expect(line).toMatch(/^[\x20-\x7e]*$/);
    }
    expect(page.match(/^\.RS$/gm)?.length).toBe(page.match(/^\.RE$/gm)?.length);
  });

  it.skipIf(skip)('is accepted by groff without a warning', () => {
    const { status, stderr } = spawnSync('groff', ['-mandoc', '-ww', '-z', '-Tutf8'], {
      input: page,
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});
