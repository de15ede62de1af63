import { describe, expect, it } from 'vitest';
import { SAMPLE_CONFIG } from '../../src/cli/sample.js';
import { HostError } from '../../src/contract/error.js';
import { checkNodeTable } from '../../src/host/open-node.js';
import { type OperatorConfig, parseOperatorFile } from '../../src/manifest/operator.js';

const parse = (text: string): OperatorConfig =>
  parseOperatorFile(Buffer.from(text), { baseDir: '/etc/modhost', file: 'modhost.toml' });

function refused(text: string): HostError {
  try {
    const config = parse(text);
    const { node } = config;
    if (node !== undefined) checkNodeTable({ ...node, fail: (path, words) => config.fail(['node', ...path], words) });
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    expect(error.reason).toBe('BAD_CONFIG');
    return error;
  }
  throw new Error('nothing was refused');
}

/** The commented lines of the sample that are TOML: the alternatives that an operator may uncomment. */
function commentedTables(sample: string): string[] {
  const blocks: string[][] = [];
  for (const line of sample.split('\n')) {
    const text = /^# (\[node\]|[a-z_]+ = .*)$/.exec(line)?.[1];
    if (text === '[node]') blocks.push([]);
    if (text === undefined) continue;
    blocks.at(-1)?.push(text);
  }
  return blocks.map((lines) => lines.join('\n'));
}

describe('the operator’s file', () => {
  it('is empty by default', () => {
    expect(parse('')).toMatchObject({
      node: undefined,
      paths: {},
      sandboxMinimum: undefined,
      limits: {},
      calls: { perSecond: undefined, nodeInFlight: undefined },
      interpreters: {},
      modules: {},
    });
  });

  it('reads every table, paths relative to the file', () => {
    const config = parse(`
[node]
kind = "devchain"
block_interval_ms = 4000
[paths]
modules = "modules"
data = "../data"
sockets = "/run/x"
[sandbox]
minimum = "none"
[limits]
memory_mb = 256
cpu_percent = 25
[calls]
per_second = 10
node_in_flight = 3
[interpreters]
python = "bin/python"
[log]
level = "debug"
format = "pretty"
dir = "log"
[modules.block-watch]
enabled = false
run = "external"
unsigned = true
path = "watch"
grants = ["read_blockchain", "ReadUTXO"]
limits = { pids = 5 }
config = { depth = 6, name = "x" }
extra_read_only = ["certs"]
allowed_callers = ["other"]
[modules.block-watch.network]
outbound = ["pool.example:3333", "[2001:db8::1]:80"]
outbound_any = true
inbound = [3333, "127.0.0.1:80", "[::1]:81"]
udp = true
private = ["pool.example:3333"]
[modules.other]
network = true
[network]
proxy = "127.0.0.1:9050"
onlynet = "onion"
[providers]
lightning = "other"
payment = "block-watch"
`);
    expect(config).toMatchObject({
      node: { kind: 'devchain', table: { block_interval_ms: 4000 } },
      paths: { modules: '/etc/modhost/modules', data: '/etc/data', sockets: '/run/x' },
      sandboxMinimum: 'none',
      limits: { memoryMb: 256, cpuPercent: 25 },
      calls: { perSecond: 10, nodeInFlight: 3 },
      interpreters: { python: '/etc/modhost/bin/python' },
      network: { proxy: '127.0.0.1:9050', onlynet: 'onion' },
      log: { level: 'debug', format: 'pretty', dir: '/etc/modhost/log' },
      providers: { lightning: 'other', payment: 'block-watch' },
      modules: {
        'block-watch': {
          enabled: false,
          run: 'external',
          unsigned: true,
          path: '/etc/modhost/watch',
          grants: ['READ_BLOCKCHAIN', 'READ_UTXO'],
          limits: { pids: 5 },
          config: { depth: 6n, name: 'x' },
          extraReadOnly: ['/etc/modhost/certs'],
          allowedCallers: ['other'],
          network: {
            outbound: ['pool.example:3333', '[2001:db8::1]:80'],
            outboundAny: true,
            inbound: [{ port: 3333 }, { port: 80, address: '127.0.0.1' }, { port: 81, address: '::1' }],
            udp: true,
            private: ['pool.example:3333'],
          },
        },
        other: { network: true },
      },
    });
  });

  it.each([
    ['a mistyped key', '[limits]\nmax_memroy = 5', 2, 'limits.max_memroy', "'memory_mb'"],
    ['a provider of no such service', '[providers]\nlightnig = "a"', 2, 'providers.lightnig', "'lightning'"],
    ['a provider of a name that no module has', '[providers]\npayment = "A B"', 2, 'providers.payment', 'a-z'],
    ['a mistyped table', '[limts]\npids = 5', 1, 'limts', "'limits'"],
    ['a mistyped key of a module', '[modules.a]\nunsinged = true', 2, 'modules.a.unsinged', "'unsigned'"],
    ['a wrong unit', '[limits]\nmemory_mb = "512MB"', 2, 'limits.memory_mb', 'integer'],
    ['a unit in the key', '[limits]\nmemory_gb = 1', 2, 'limits.memory_gb', "'memory_mb'"],
    ['a negative number', '[limits]\npids = -1', 2, 'limits.pids', 'from 1'],
    ['a string for a number', '[calls]\nper_second = "10"', 2, 'calls.per_second', 'integer'],
    ['a decimal', '[limits]\ncpu_percent = 50.0', 2, 'limits.cpu_percent', 'decimal point'],
    ['a date', '[log]\nlevel = 2026-01-01', 2, 'log.level', 'date'],
    ['a number for a word', '[sandbox]\nminimum = 1', 2, 'sandbox.minimum', "'confined'"],
    ['a means for an end', '[sandbox]\nminimum = "bubblewrap"', 2, 'sandbox.minimum', "did you mean 'confined'"],
    ['a guarantee that is none', '[sandbox]\nminimum = ["memroy"]', 2, 'sandbox.minimum', "'memory'"],
    ['a kind of node that is none', '[node]\nkind = "bitcoin"', 2, 'node.kind', 'bitcoind'],
    ['a node without kind', '[node]\nurl = "x"', 1, 'node', 'kind'],
    [
      'an unknown key of devchain',
      '[node]\nkind = "devchain"\nblock_intervall_ms = 1',
      3,
      'node.block_intervall_ms',
      "'block_interval_ms'",
    ],
    ['an unknown key of bitcoind', '[node]\nkind = "bitcoind"\nurll = ""', 3, 'node.urll', "'url'"],
    ['a key of another node', '[node]\nkind = "devchain"\nurl = ""', 3, 'node.url', 'devchain'],
    ['a node’s string for a number', '[node]\nkind = "bitcoind"\npoll_ms = "5"', 3, 'node.poll_ms', 'number'],
    [
      'a node’s negative number',
      '[node]\nkind = "devchain"\nblock_interval_ms = -1',
      3,
      'node.block_interval_ms',
      'at least 0',
    ],
    ['a missing key of btcd', '[node]\nkind = "btcd"', 1, 'node.user', 'required'],
    [
      'a permission that is none',
      '[modules.a]\ngrants = ["read_blockchian"]',
      2,
      'modules.a.grants.0',
      'read_blockchain',
    ],
    ['a reserved name', '[modules.host]\nenabled = true', 1, 'modules.host', 'reserved'],
    ['a name that is none', '[modules.__proto__]\nenabled = true', 1, 'modules.__proto__', 'name'],
    ['a proxy that is none', '[network]\nproxy = "socks5://x"', 2, 'network.proxy', 'host:port'],
    ['an unknown network', '[network]\nonlynet = "i2p"', 2, 'network.onlynet', "'onion'"],
    [
      'a grant without port',
      '[modules.a.network]\noutbound = ["x.example"]',
      2,
      'modules.a.network.outbound.0',
      'host:port',
    ],
    ['a mistyped grant', '[modules.a.network]\noutbuond = []', 2, 'modules.a.network.outbuond', "'outbound'"],
    ['a port that is none', '[modules.a.network]\ninbound = [0]', 2, 'modules.a.network.inbound.0', 'port'],
    [
      'a name to listen on',
      '[modules.a]\nnetwork = { inbound = ["x:1"] }',
      2,
      'modules.a.network.inbound.0',
      'address',
    ],
    ['a word for a grant', '[modules.a]\nnetwork = "all"', 2, 'modules.a.network', 'table'],
    ['broken TOML', '[node]\nkind = ', 2, undefined, 'line 2'],
    ['the same key twice', '[log]\nlevel = "info"\nlevel = "warn"', 3, undefined, 'line 3'],
    ['no UTF-8', '\ud800', 1, undefined, ''],
  ])('C166: refuses %s, with line and cure', (what, text, line, path, cure) => {
    const bytes = what === 'no UTF-8' ? Buffer.from([0xff, 0xfe]) : undefined;
    let error: HostError;
    if (bytes === undefined) error = refused(text);
    else {
      error = (() => {
        try {
          parseOperatorFile(bytes, { baseDir: '/' });
        } catch (thrown) {
          return thrown as HostError;
        }
        throw new Error('nothing was refused');
      })();
    }
    expect(error.details.line).toBe(line);
    if (path !== undefined) expect(error.details.path).toBe(path);
    expect(error.message).toContain(cure);
  });

  it.each([
    ['[registry.main]\nurl = "https://x"', 'registry'],
    ['[modules.a]\nversion = "1.0.0"', 'modules.a.version'],
  ])('refuses what this version does not act on: %s', (text, path) => {
    const error = refused(text);
    expect(error.details.path).toBe(path);
    expect(error.message).toContain('not yet served');
  });

  it.each([
    '[node]\nkind = "bitcoind"\npassword = 5\nuser = "hunter2"',
    '[node]\nkind = "bitcoind"\nuser = "hunter2"',
    '[node]\nkind = "bitcoind"\npassword = "hunter2',
    '[modules.a]\nconfig = "hunter2"',
    '[node]\nkind = "btcd"\nuser = "a"\npassword = ["hunter2"]',
  ])('shows no value in a message, since any may be a secret', (text) => {
    const { message, details } = refused(text);
    expect(`${message} ${JSON.stringify(details)}`).not.toContain('hunter2');
  });

  it('parses its own commented sample, and each alternative in it', () => {
    const config = parse(SAMPLE_CONFIG);
    expect(config.node?.kind).toBe('devchain');
    const alternatives = commentedTables(SAMPLE_CONFIG.slice(0, SAMPLE_CONFIG.indexOf('[paths]')));
    expect(alternatives).toHaveLength(2);
    for (const text of alternatives) {
      const other = parse(text);
      const { node } = other;
      if (node === undefined) throw new Error('an alternative without a node');
      checkNodeTable({ ...node, fail: (path, words) => other.fail(['node', ...path], words) });
    }
    const uncommented = SAMPLE_CONFIG.slice(SAMPLE_CONFIG.indexOf('[paths]')).replaceAll(/^# ([a-z_]+ = )/gm, '$1');
    expect(parse(uncommented).modules['block-watch']).toMatchObject({ limits: { memoryMb: 256 } });
  });
});
