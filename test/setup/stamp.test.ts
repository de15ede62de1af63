import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStamp } from '../../src/setup/stamp.js';

describe('the stamp of a build', () => {
  let root: string;
  const stamp = (also: string[] = []) =>
    createStamp({ root, name: 'thing', inputs: ['in', 'one.txt'], outputs: ['out/result'], also });

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'modhost-stamp-'));
    for (const dir of ['in/deep', 'in/build', 'in/gen', 'out']) mkdirSync(join(root, dir), { recursive: true });
    writeFileSync(join(root, 'in/deep/a.txt'), 'a');
    writeFileSync(join(root, 'one.txt'), '1');
    writeFileSync(join(root, 'out/result'), 'made');
    stamp().write();
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('is current while inputs and outputs are as they were', () => {
    expect(stamp().isCurrent()).toBe(true);
  });

  it.each([
    ['a changed file', () => writeFileSync(join(root, 'in/deep/a.txt'), 'b')],
    ['a new file', () => writeFileSync(join(root, 'in/deep/b.txt'), '')],
    ['a file that is gone', () => rmSync(join(root, 'one.txt'))],
    ['an output that is gone', () => rmSync(join(root, 'out/result'))],
    ['its being cleared', () => stamp().clear()],
  ])('is not after %s', (_, change) => {
    change();
    expect(stamp().isCurrent()).toBe(false);
  });

  it('tells content that moved between two files from content that stayed', () => {
    writeFileSync(join(root, 'in/deep/a.txt'), '');
    writeFileSync(join(root, 'one.txt'), 'a1');
    expect(stamp().isCurrent()).toBe(false);
  });

  it('looks at what else the result depends on, and not at results beside the inputs', () => {
    expect(stamp(['arm64']).isCurrent()).toBe(false);
    writeFileSync(join(root, 'in/build/program'), 'x');
    writeFileSync(join(root, 'in/gen/stub'), 'x');
    expect(stamp().isCurrent()).toBe(true);
  });

  it('does not count a change during the work as built', () => {
    const before = stamp();
    writeFileSync(join(root, 'one.txt'), '2');
    before.write();
    expect(stamp().isCurrent()).toBe(false);
  });
});
