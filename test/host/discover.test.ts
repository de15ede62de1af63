import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { discover, readModule } from '../../src/host/discover.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mh-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const put = (directory: string, name: string): string => {
  const path = join(dir, directory);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'module.toml'), `name = "${name}"\nversion = "1.0.0"\n`);
  return path;
};
const reasonOf = (work: () => unknown): string => {
  try {
    work();
    return 'OK';
  } catch (error) {
    return HostError.from(error).reason;
  }
};

describe('the directories of modules', () => {
  it('C023: a manifest that names another module than its directory is refused, beside good ones', () => {
    put('alpha', 'alpha');
    put('beta', 'gamma');
    put('upper', 'Upper');
    mkdirSync(join(dir, 'empty'));
    const { found, broken } = discover(dir, {});
    expect(found.map(({ manifest }) => manifest.name)).toEqual(['alpha']);
    expect(broken.map(({ name, error }) => [name, error.reason])).toEqual([
      ['beta', 'NAME_MISMATCH'],
      ['upper', 'BAD_NAME'],
    ]);
    expect(broken[0]?.error.details).toMatchObject({ manifest: 'gamma', asked: 'beta', directory: 'beta' });
  });

  it('C023: where the operator gives a path, the name that he gives it is what the manifest must say', () => {
    const path = put('checkout', 'alpha');
    const { found, broken } = discover(join(dir, '.'), { alpha: { path }, delta: { path } });
    expect(found.map(({ manifest }) => manifest.name)).toEqual(['alpha']);
    expect(broken.map(({ name, error }) => [name, error.reason])).toEqual([
      ['checkout', 'NAME_MISMATCH'],
      ['delta', 'NAME_MISMATCH'],
    ]);
  });

  it('C008: a manifest is measured before it is read, and must be a regular file', () => {
    const path = put('alpha', 'alpha');
    expect(reasonOf(() => readModule(path, 'alpha'))).toBe('OK');
    writeFileSync(join(path, 'module.toml'), Buffer.alloc(64 * 1024 + 1, 0x20));
    expect(reasonOf(() => readModule(path, 'alpha'))).toBe('MANIFEST_TOO_LARGE');
    rmSync(join(path, 'module.toml'));
    symlinkSync('/dev/zero', join(path, 'module.toml'));
    expect(reasonOf(() => readModule(path, 'alpha'))).toBe('MANIFEST_SYNTAX');
    rmSync(join(path, 'module.toml'));
    expect(reasonOf(() => readModule(path, 'alpha'))).toBe('MODULE_NOT_FOUND');
  });
});
