import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { logLineText } from '../../src/cli/pretty-log.js';
import { findAdminSocket } from '../../src/cli/reach.js';
import { resolveRun } from '../../src/cli/settings.js';
import { durationText, tableLines } from '../../src/cli/table.js';
import { createTerminal } from '../../src/cli/terminal.js';
import { HostError } from '../../src/contract/error.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mhs-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const write = (text: string): string => {
  const file = join(dir, 'modhost.toml');
  writeFileSync(file, text, { mode: 0o600 });
  return file;
};
const reasonOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return HostError.from(error).reason;
  }
  return '';
};

describe('settings of a run', () => {
  it('keeps the data of each network apart, and fixes the network before the node is asked', () => {
    const config = write('[node]\nkind = "bitcoind"\ncookie_file = "c"\n[paths]\ndata = "d"\nsockets = "s"\n');
    const main = resolveRun({ config, allowUnsigned: [] }, {});
    expect(main).toMatchObject({
      dataDir: join(dir, 'd', 'main'),
      modulesDir: join(dir, 'd', 'modules'),
      socketDir: join(dir, 's'),
      node: { kind: 'bitcoind', table: { network: 'main', cookie_file: join(dir, 'c') } },
    });
    const regtest = resolveRun({ config, network: 'regtest', allowUnsigned: [] }, {});
    expect(regtest.dataDir).toBe(join(dir, 'd', 'regtest'));
    expect(regtest.node.table.network).toBe('regtest');
  });

  it('does not carry the table of one node over to another', () => {
    const config = write('[node]\nkind = "bitcoind"\npassword = "hunter2"\nuser = "x"\n[paths]\ndata = "d"\n');
    const settings = resolveRun({ config, node: 'devchain', blockInterval: 5, allowUnsigned: [] }, {});
    expect(settings.node).toMatchObject({ kind: 'devchain', table: { block_interval_ms: 5 } });
    expect(settings.node.table).not.toHaveProperty('password');
    expect(settings.dataDir).toBe(join(dir, 'd', 'devchain'));
  });

  it('takes the password from the environment, and warns of a file that others can read', () => {
    const config = write('[node]\nkind = "btcd"\nuser = "x"\npassword = "hunter2"\n');
    const env = { MODHOST_NODE_PASSWORD: 'other' };
    expect(resolveRun({ config, allowUnsigned: [] }, env)).toMatchObject({
      node: { table: { password: 'other' } },
      warnings: [],
    });
    chmodSync(config, 0o644);
    const { warnings } = resolveRun({ config, allowUnsigned: [] }, env);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).not.toContain('hunter2');
  });

  it('blames the flag that a refused value came from', () => {
    const { node } = resolveRun({ config: write(''), blockInterval: 1, allowUnsigned: [] }, {});
    expect(() => node.fail(['block_interval_ms'], 'is too large')).toThrow('--block-interval is too large');
  });

  it('refuses a file that was named and is not there', () => {
    expect(reasonOf(() => resolveRun({ config: join(dir, 'none.toml'), allowUnsigned: [] }, {}))).toBe('BAD_CONFIG');
  });
});

describe('finding a host', () => {
  it('tells that none runs, by a reason of its own', () => {
    expect(reasonOf(() => findAdminSocket({ socketDir: dir }, {}))).toBe('SESSION_CLOSED');
    // a file of that name is no host
    mkdirSync(join(dir, 'x'));
    writeFileSync(join(dir, 'x', 'admin.sock'), '');
    expect(reasonOf(() => findAdminSocket({ socketDir: join(dir, 'x') }, {}))).toBe('SESSION_CLOSED');
  });
});

describe('words on a terminal', () => {
  const paintOf = (isTTY: boolean, env: NodeJS.ProcessEnv): string => {
    const stream = { isTTY, write: () => true } as unknown as NodeJS.WriteStream;
    return createTerminal({ stdout: stream, stderr: stream }, env).paint('red', 'x');
  };

  it('paints on a terminal alone, and not with NO_COLOR', () => {
    expect(paintOf(true, {})).toBe('\u001b[31mx\u001b[39m');
    expect(paintOf(false, {})).toBe('x');
    expect(paintOf(true, { NO_COLOR: '1' })).toBe('x');
    expect(paintOf(true, { TERM: 'dumb' })).toBe('x');
    // an empty NO_COLOR does not count, says no-color.org
    expect(paintOf(true, { NO_COLOR: '' })).not.toBe('x');
  });

  it('lets no module repaint the terminal or forge a line', () => {
    const line = { timeUnixMs: 0, level: 'info' as const, module: 'm\u001b[2J', message: 'a\nb\u001b[31m' };
    const text = logLineText({ ...line, fields: [['k\r', 'v\u202e']] }, (_style, plain) => plain);
    expect(text).toBe('00:00:00Z INFO  m\\x1b[2J       a\\x0ab\\x1b[31m  k\\x0d=v\\u{202e}');
  });

  it('aligns tables and shortens durations', () => {
    const rows = [
      { a: 'x', n: 1 },
      { a: 'long', n: 10 },
    ];
    const columns = [
      { title: 'A', cell: (row: (typeof rows)[0]) => row.a },
      { title: 'N', cell: (row: (typeof rows)[0]) => String(row.n), right: true },
    ];
    expect(tableLines(rows, columns, (_style, text) => text)).toEqual(['A      N', 'x      1', 'long  10']);
    expect([0, 61_000, 7_200_000, 90_061_000].map(durationText)).toEqual(['0s', '1m 1s', '2h', '1d 1h']);
  });
});
