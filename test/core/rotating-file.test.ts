import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRotatingFile } from '../../src/core/rotating-file.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mh-rotating-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const tellLost = (count: number): string => `lost ${count}`;
const make = (more: object = {}) =>
  createRotatingFile({ path: join(dir, 'log', 'x'), maxBytes: 1_000, files: 3, tellLost, ...more });
const content = (name: string): string => readFileSync(join(dir, 'log', name), 'utf8');

describe('a rotating file', () => {
  it('keeps the newest lines whole and in order, in so many files of such a size', async () => {
    const file = make();
    for (let n = 0; n < 1_000; n += 1) {
      file.write(`line ${n} ${'é'.repeat(n % 20)}`);
      // some arrive together, some while others are written
      if (n % 17 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await file.close();
    expect(readdirSync(join(dir, 'log')).sort()).toEqual(['x', 'x.1', 'x.2']);
    for (const name of ['x', 'x.1', 'x.2']) expect(statSync(join(dir, 'log', name)).size).toBeLessThanOrEqual(1_000);
    const lines = ['x.2', 'x.1', 'x'].flatMap((name) => content(name).split('\n').slice(0, -1));
    const numbers = lines.map((line) => Number(line.split(' ')[1]));
    expect(numbers).toEqual(numbers.map((_, index) => 1_000 - numbers.length + index));
    expect(numbers.length).toBeGreaterThan(40);
    expect(file.lost()).toBe(0);
  });

  it('goes on where another left off, makes a cut line one of its own, and gives a long line a file of its own', async () => {
    const first = make();
    first.write('one');
    await first.close();
    first.write('too late');
    expect(first.lost()).toBe(1);
    writeFileSync(join(dir, 'log', 'x'), 'one\ncut of');
    const second = make();
    second.write('two');
    second.write('y'.repeat(5_000));
    second.write('three');
    await second.close();
    expect([content('x.2'), content('x.1'), content('x')]).toEqual([
      'one\ncut of\ntwo\n',
      `${'y'.repeat(5_000)}\n`,
      'three\n',
    ]);
  });

  it('C160: counts what it cannot write, and tells of it when it can again', async () => {
    writeFileSync(join(dir, 'log'), 'in the way');
    const file = make();
    for (let n = 0; n < 3; n += 1) file.write('gone');
    await expect.poll(() => file.lost()).toBe(3);
    rmSync(join(dir, 'log'));
    file.write('here');
    await expect.poll(() => readdirSync(dir), { timeout: 20_000 }).toEqual(['log']);
    await file.close();
    expect(content('x')).toBe('lost 3\nhere\n');
  });

  it('does not fill the memory while the disk is slower than its lines', async () => {
    const file = make({ maxBytes: 100_000 });
    const line = 'z'.repeat(10_000);
    for (let n = 0; n < 10_000; n += 1) file.write(line);
    expect(file.lost()).toBeGreaterThan(9_000);
    await file.close();
    expect(readdirSync(join(dir, 'log'))).toHaveLength(3);
  });
});
