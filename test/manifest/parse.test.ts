import { describe, expect, test } from 'vitest';
import type { ErrorReason } from '../../src/contract/error.js';
import { PERMISSIONS } from '../../src/contract/permission.js';
import { parseManifest } from '../../src/manifest/parse.js';
import { FOUNDING_EXAMPLE, FULL_EXAMPLE } from './example.js';
import { expectReason } from './expect-reason.js';

const HEAD = 'name = "a"\nversion = "1.2.3"\n';
const HASH = `sha256:${'ab'.repeat(32)}`;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const parse = (text: string) => parseManifest(bytes(text));
const refused = (reason: ErrorReason, rest: string, head = HEAD) =>
  expectReason(reason, () => parse(head + rest), JSON.stringify(rest.slice(0, 80)));

describe('what loads', () => {
  test("C001: the founding document's example, with real keys", () => {
    const manifest = parse(FOUNDING_EXAMPLE);
    expect(manifest.name).toBe('lightning-network');
    expect(manifest.version).toBe('1.2.3');
    expect(manifest.author).toBe('Alice <alice@example.com>');
    expect(manifest.capabilities).toEqual(['READ_BLOCKCHAIN', 'SUBSCRIBE_EVENTS']);
    expect(manifest.entryPoint).toBe('lightning-network');
    expect(manifest.governance).toEqual({
      tier: 'application',
      maintainers: ['alice', 'bob', 'charlie'],
      threshold: { required: 2, total: 3 },
      reviewPeriodDays: 14,
    });
    expect(manifest.signatures?.signers.map(({ name }) => name)).toEqual(['alice', 'bob']);
    expect(manifest.artifacts).toEqual([
      {
        platform: '',
        kind: 'file',
        hash: 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
        size: 1234567,
        downloadUrl: 'https://registry.bitcoincommons.org/modules/lightning-network/1.2.3',
      },
    ]);
    expect([...manifest.dependencies.keys()]).toEqual(['blvm-node', 'another-module']);
    expect(manifest.dependencies.get('another-module')?.includes('0.6.0')).toBe(true);
    expect(manifest.compatibility.testedWith).toEqual(['1.0.0', '1.1.0']);
  });

  test('every table of the grammar, and the defaults of those that are absent', () => {
    const full = parse(FULL_EXAMPLE);
    expect(full.capabilities).toEqual(['READ_BLOCKCHAIN', 'READ_UTXO']);
    expect(full.run.command).toEqual(['python', 'main.py', '--quiet']);
    expect(full.run.env.get('LANG')).toBe('C.UTF-8');
    expect(full.artifacts[0]).toMatchObject({ platform: 'linux-x64', kind: 'bundle', size: 9007199254740991 });
    expect(full.limits).toEqual({ memoryMb: 256, stopTimeoutMs: 5000 });
    expect(full.network).toMatchObject({ inbound: [3333], udp: true, outboundAny: false });
    expect(full.health).toEqual({ mode: 'ping', intervalMs: 3000, timeoutMs: 3000 });
    expect(full.update).toEqual({ mode: 'handover', state: 'no-rollback' });
    expect(full.restart).toEqual({ policy: 'never', maxCrashes: 5, windowS: 600 });
    expect(full.storage.schemaVersion).toBe(3);
    expect(full.config.get('label')).toMatchObject({ type: 'string', description: 'free text of the ancestor' });
    expect(full.document['x-note']).toEqual({ ours: [1n, 'two'] });

    const least = parse(HEAD);
    expect(least.limits).toEqual({});
    expect(least.health.mode).toBe('invocation');
    expect(least.restart.policy).toBe('on-failure');
    expect(least.artifacts).toEqual([]);
    expect(least.signatures).toBeUndefined();
  });

  test('C003: no capabilities at all is the empty set', () => {
    expect(parse(HEAD).capabilities).toEqual([]);
  });

  test('C005: a capability asked twice, or by both its names, is asked once', () => {
    expect(parse(`${HEAD}capabilities = ["read_utxo", "ReadUTXO", "read_utxo"]`).capabilities).toEqual(['READ_UTXO']);
  });

  test('every permission has its snake_case word', () => {
    const words = PERMISSIONS.map((permission) => `"${permission.toLowerCase()}"`);
    expect(parse(`${HEAD}capabilities = [${words.join(',')}]`).capabilities).toEqual(PERMISSIONS);
  });

  test('public_key is an alias of key', () => {
    const alias = parse(FOUNDING_EXAMPLE.replace('key =', 'public_key ='));
    expect(alias.signatures).toEqual(parse(FOUNDING_EXAMPLE).signatures);
  });
});

describe('the text', () => {
  test('C006: a key or table twice is refused with its line', () => {
    expect(refused('MANIFEST_SYNTAX', 'name = "b"').details).toMatchObject({ line: 3, column: 1 });
    expect(refused('MANIFEST_SYNTAX', '[limits]\npids = 3\n[limits]').details).toMatchObject({ line: 5 });
    refused('MANIFEST_SYNTAX', 'run = { env = {}, env = {} }');
    refused('MANIFEST_SYNTAX', 'limits.pids = 3\nlimits.pids = 4');
  });

  test('C007: unknown keys and tables are refused with place and nearest name', () => {
    expect(refused('UNKNOWN_FIELD', '[sandbox]\ndisable = true').details).toMatchObject({ line: 3, path: 'sandbox' });
    const near = refused('UNKNOWN_FIELD', '[limits]\npids = 3\nmemroy_mb = 3');
    expect(near.details).toEqual({ line: 5, column: 1, path: 'limits.memroy_mb' });
    expect(near.message).toContain("'memory_mb'");
    const artifact = `[[binary.artifacts]]\nhash = "${HASH}"\nsize = 1\n`;
    expect(
      refused('UNKNOWN_FIELD', `${artifact}platform = "linux-x64"\n${artifact}platform = "linux-arm64"\nsha = "x"`)
        .details,
    ).toMatchObject({
      path: 'binary.artifacts.1.sha',
      line: 11,
    });
    expect(refused('UNKNOWN_FIELD', '[config]\nkey = {\n  type = "string",\n  typo = 1 }').details).toMatchObject({
      path: 'config.key.typo',
    });
    refused('UNKNOWN_FIELD', 'X-note = 1');
  });

  test('C008: size and depth are refused before parsing', () => {
    const padded = `${HEAD}#${'x'.repeat(64 * 1024 - HEAD.length - 1)}`;
    expect(parse(padded).name).toBe('a');
    expectReason('MANIFEST_TOO_LARGE', () => parse(`${padded}x`));
    expectReason('MANIFEST_TOO_LARGE', () => parseManifest(new Uint8Array(64 * 1024 + 1).fill(0xff)));
    expectReason('MANIFEST_TOO_LARGE', () => parse(`${HEAD}description = "${'x'.repeat(1024 * 1024)}"`));
    refused('MANIFEST_TOO_LARGE', `x-a = ${'['.repeat(20_000)}`);
    refused('MANIFEST_TOO_LARGE', `x-a = ${'{a='.repeat(20_000)}`);
    refused('MANIFEST_TOO_LARGE', `x-${'a.'.repeat(20_000)}a = 1`);
    refused('MANIFEST_TOO_LARGE', `x-q = """a"""""\nx-a = ${'['.repeat(20_000)}`);
    expect(parse(`${HEAD}x-a = "${'['.repeat(20_000)}" # ${'['.repeat(10_000)}`).name).toBe('a');
    expect(parse(`${HEAD}x-a = '''${'['.repeat(20_000)}'''`).name).toBe('a');
  });

  test('C009: UTF-8 without BOM or controls; CRLF reads as LF', () => {
    expectReason('MANIFEST_SYNTAX', () =>
      parseManifest(Uint8Array.from([...bytes(`${HEAD}description = "`), 0xc3, 0x28, 0x22])),
    );
    expectReason('MANIFEST_SYNTAX', () => parse(`\ufeff${HEAD}`));
    expect(refused('MANIFEST_SYNTAX', 'description = "a\0b"').details).toMatchObject({ line: 3, column: 17 });
    refused('MANIFEST_SYNTAX', 'description = "a"\rlicense = "b"');
    refused('MANIFEST_SYNTAX', '# comment with \x1b[31m');
    refused('BAD_VALUE', 'description = "a\\u0000b"');
    expect(parse(FOUNDING_EXAMPLE.replaceAll('\n', '\r\n'))).toMatchObject({
      ...parse(FOUNDING_EXAMPLE),
      dependencies: expect.anything(),
    });
  });

  test('numbers are integers, text is in normal form C, everywhere', () => {
    refused('BAD_VALUE', 'x-a = { b = [1, 1.5] }');
    refused('BAD_VALUE', 'x-a = nan');
    refused('BAD_VALUE', 'x-a = 1979-05-27');
    refused('BAD_VALUE', 'x-a = 1979-05-27T07:32:00Z');
    refused('BAD_VALUE', 'limits = { pids = 3.0 }');
    refused('BAD_VALUE', 'description = "e\u0301"');
  });

  test('a newer manifest is told as such, whatever else is in it', () => {
    refused('MANIFEST_TOO_NEW', 'manifest_version = 2\nfuture = true');
    refused('BAD_VALUE', 'manifest_version = 0');
    refused('BAD_VALUE', 'manifest_version = "1"');
  });

  test('messages carry no control characters of the author', () => {
    const error = refused('UNKNOWN_FIELD', '"\\u001b[2J\\u202e\\n" = 1');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: asserting their absence
    expect(error.message + String(error.details.path)).not.toMatch(/[\x00-\x1f\u202e]/);
  });
});

describe('names, versions, ranges', () => {
  test('C010 and C011: names', () => {
    const bad = [
      '../evil',
      'a/b',
      '.',
      'CON',
      '',
      'a'.repeat(65),
      'Upper',
      'con_fig',
      'trailing-',
      '-a',
      'a--b',
      '9a',
      'a b',
      'a.b',
    ];
    const homoglyphs = ['\u0430bc', 'a\u200db', 'a\u200b', '\uff41bc'];
    for (const name of [...bad, ...homoglyphs]) {
      expectReason('BAD_NAME', () => parse(`name = ${JSON.stringify(name)}\nversion = "1.0.0"`), name);
    }
    for (const name of ['a', 'con-fig', 'a'.repeat(64), 'a1-2b']) {
      expect(parse(`name = "${name}"\nversion = "1.0.0"`).name).toBe(name);
    }
    expectReason('BAD_NAME', () => parse('name = 7\nversion = "1.0.0"'));
    expectReason('FIELD_REQUIRED', () => parse('version = "1.0.0"'));
  });

  test('C012: reserved names', () => {
    for (const name of ['node', 'host', 'core', 'system', 'modhost', 'blvm-node']) {
      expectReason('RESERVED_NAME', () => parse(`name = "${name}"\nversion = "1.0.0"`), name);
    }
    refused('RESERVED_NAME', '[dependencies]\ncore = ">=1.0.0"');
  });

  test('C013: names of Object.prototype are data or refused, and never reach a prototype', () => {
    for (const key of ['__proto__', 'toString', 'hasOwnProperty']) {
      expectReason('BAD_NAME', () => parse(`name = "${key}"\nversion = "1.0.0"`));
      refused('BAD_NAME', `[dependencies]\n${key} = ">=1.0.0"`);
      refused('UNKNOWN_FIELD', `[${key}]\nx = 1`);
      refused('UNKNOWN_FIELD', `[limits]\n${key} = 1`);
    }
    refused('BAD_VALUE', '[config]\n__proto__ = { type = "string" }');
    refused('UNKNOWN_FIELD', '[config]\nkey = { type = "string", __proto__ = 1 }');
    const manifest = parse(`${HEAD}[config]\nconstructor = { type = "string" }\ntoString = { type = "integer" }`);
    expect([...manifest.config.keys()]).toEqual(['constructor', 'toString']);
    expect(parse('name = "constructor"\nversion = "1.0.0"').name).toBe('constructor');
    expect(parse(`${HEAD}[x-a.__proto__]\npolluted = 1`).name).toBe('a');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('C014: versions are strict SemVer 2.0', () => {
    const bad = [
      '1.2',
      'v1.2.3',
      '=1.2.3',
      '1.2.3.4',
      '01.2.3',
      '1.2.3-',
      '1.2.3-01',
      '99999999999999999999.0.0',
      ' 1.2.3',
      '1.2.3 ',
      '',
    ];
    for (const version of [...bad, `1.2.3-${'a'.repeat(256)}`]) {
      expectReason('BAD_VERSION', () => parse(`name = "a"\nversion = "${version}"`), version);
    }
    for (const version of ['0.0.0', '1.2.3-rc.1+a.01', '1.0.0-x-y', '9007199254740991.0.0']) {
      expect(parse(`name = "a"\nversion = "${version}"`).version).toBe(version);
    }
    refused('BAD_VERSION', '[compatibility]\nmin_node_version = "1"');
    refused('BAD_VERSION', '[compatibility]\ntested_with = ["1.0.0", "x"]');
  });

  test('C019: a module that depends on itself', () => {
    refused('DEPENDENCY_CYCLE', '[dependencies]\na = ">=1.0.0"');
    refused('MANIFEST_AMBIGUOUS', '[dependencies]\nb = ">=1.0.0"\n[optional_dependencies]\nb = ">=1.0.0"');
  });

  test('C020: ranges that say nothing or admit nothing', () => {
    const bomb = `>=1.0.0 ${'- '.repeat(5000)}`;
    for (const range of [
      '>=1.0.0 <1.0.0',
      '*',
      '',
      '^',
      '>=',
      'x',
      '>=1.0.0 || *',
      '>=1.0.0 || >2.0.0 <2.0.0',
      '>=1.0.0,<2.0.0',
      bomb,
    ]) {
      refused('BAD_RANGE', `[dependencies]\nother = ${JSON.stringify(range)}`);
    }
    refused('BAD_RANGE', '[dependencies]\nother = 1');
    const { dependencies } = parse(`${HEAD}[dependencies]\nother = "^1.2.0 || ~3.1.0"`);
    expect(['1.1.0', '1.9.9', '3.1.5', '3.2.0'].map((v) => dependencies.get('other')?.includes(v))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });
});

describe('capabilities and files', () => {
  test('C002: capabilities in both places', () => {
    const error = refused('MANIFEST_AMBIGUOUS', 'capabilities = []\n[compatibility]\ncapabilities = []');
    expect(error.message).toContain('compatibility.capabilities');
    expect(error.message).toContain("'capabilities' at top level");
  });

  test('C004: unknown capabilities, and known ones in another spelling', () => {
    for (const word of [
      'read_wallet',
      'Read_Blockchain',
      'READ_BLOCKCHAIN',
      'readBlockchain',
      'none',
      'unspecified',
      'constructor',
      '',
    ]) {
      refused('UNKNOWN_CAPABILITY', `capabilities = ["${word}"]`);
    }
    refused('UNKNOWN_CAPABILITY', 'capabilities = [1]');
    refused('BAD_VALUE', 'capabilities = "read_blockchain"');
    expect(refused('UNKNOWN_CAPABILITY', 'capabilities = ["read_blockchian"]').message).toContain("'read_blockchain'");
  });

  test('C022: the form of an entry point', () => {
    for (const path of ['/bin/sh', '..', '../x', 'a/../b', 'a//b', './a', 'a/', '', 'a\\\\b', 'a\\u0000b']) {
      refused('BAD_ENTRY_POINT', `entry_point = "${path}"`);
    }
    expect(parse(`${HEAD}entry_point = "bin/run..sh"`).entryPoint).toBe('bin/run..sh');
    refused('MANIFEST_AMBIGUOUS', 'entry_point = "x"\n[run]\ncommand = ["python", "x"]');
    for (const command of ['[]', '["/usr/bin/python3"]', '["../python"]', '["py thon"]']) {
      refused('BAD_VALUE', `[run]\ncommand = ${command}`);
    }
    refused('BAD_VALUE', '[run]\ncommand = ["python", "a\\u0000b"]');
  });

  test('the environment of the host cannot be overridden', () => {
    for (const name of ['MODHOST_SOCKET', 'MODHOST_ANYTHING', 'SOCKET_PATH', 'MODULE_ID', 'MODULE_NAME', 'DATA_DIR']) {
      refused('RESERVED_NAME', `[run.env]\n${name} = "x"`);
    }
    refused('BAD_VALUE', '[run.env]\n"A=B" = "x"');
    refused('BAD_VALUE', '[run.env]\nA = 1');
  });
});

describe('binary, governance, signatures', () => {
  const binary = (lines: string) => `[binary]\n${lines}`;

  test('C016: hashes have one spelling', () => {
    const hex = 'ab'.repeat(32);
    for (const hash of [
      'abc',
      `sha1:${hex}`,
      `sha256:${hex.slice(1)}`,
      `sha256:${hex.toUpperCase()}`,
      `sha256: ${hex}`,
      `${HASH} `,
      hex,
    ]) {
      refused('BAD_HASH', binary(`hash = "${hash}"\nsize = 1`));
    }
    refused('FIELD_REQUIRED', binary('size = 1'));
  });

  test('C017: sizes', () => {
    for (const size of ['0', '-1', '1.0', '1.5', '"1"', '9007199254740992', '9223372036854775807']) {
      refused('BAD_SIZE', binary(`hash = "${HASH}"\nsize = ${size}`));
    }
    refused('BAD_SIZE', binary(`hash = "${HASH}"`));
    refused('BAD_SIZE', `[[binary.artifacts]]\nplatform = "linux-x64"\nhash = "${HASH}"`);
    refused('BAD_SIZE', binary(`hash = "${HASH}"\nsize = 9223372036854775808`));
    refused('BAD_VALUE', 'x-big = 9223372036854775808');
  });

  test('C018: download addresses', () => {
    const bad = [
      'file:///etc/passwd',
      'http://example.org/x',
      'http://127.0.0.1.example.org/x',
      'http://2130706433x/',
      'ftp://example.org/x',
      'https://user:pass@example.org/x',
      'https://user@example.org/x',
      'https://@example.org/x',
      'https://',
      'https:/example.org',
      'https://exa mple.org/',
      'https://example.org\\\\@evil.org/',
      'https://example.org/\\u0000',
      'https://example.org/\\n',
      `https://example.org/${'x'.repeat(10_000)}`,
      'javascript:alert(1)',
    ];
    for (const url of bad) refused('BAD_URL', binary(`hash = "${HASH}"\nsize = 1\ndownload_url = "${url}"`));
    for (const url of [
      'https://example.org/a?b=c',
      'http://127.0.0.1:8080/x',
      'http://localhost/x',
      'http://[::1]:80/x',
    ]) {
      const { artifacts } = parse(HEAD + binary(`hash = "${HASH}"\nsize = 1\ndownload_url = "${url}"`));
      expect(artifacts[0]?.downloadUrl).toBe(url);
    }
  });

  test('one artifact per platform', () => {
    const one = `[[binary.artifacts]]\nplatform = "linux-x64"\nhash = "${HASH}"\nsize = 1\n`;
    expect(parse(HEAD + one).artifacts).toHaveLength(1);
    refused('MANIFEST_AMBIGUOUS', one + one);
  });

  test('C026: thresholds', () => {
    for (const threshold of [
      '0-of-3',
      '3-of-2',
      '-1-of-3',
      '2 of 3',
      '2-of-3-of-4',
      '02-of-3',
      '2-of-999999999',
      '2-of-101',
      '',
      '1-of-1 ',
    ]) {
      refused('BAD_THRESHOLD', `[governance]\nmaintainers = ["a"]\nthreshold = "${threshold}"`);
    }
    refused('BAD_THRESHOLD', '[governance]\nmaintainers = ["a"]');
    refused('BAD_THRESHOLD', '[governance]\nmaintainers = ["a"]\nthreshold = 1');
  });

  test('C038: governance and signatures must agree', () => {
    const swap = (from: string | RegExp, to: string) => () => parse(FOUNDING_EXAMPLE.replace(from, to));
    expectReason('GOVERNANCE_MISMATCH', swap('threshold = "2-of-3"', 'threshold = "1-of-3"'));
    expectReason('GOVERNANCE_MISMATCH', swap(/threshold = "2-of-3"/g, 'threshold = "2-of-4"'));
    expectReason('GOVERNANCE_MISMATCH', swap('name = "bob"', 'name = "mallory"'));
    expectReason('GOVERNANCE_MISMATCH', () => parse(FOUNDING_EXAMPLE.replace(/# Governance[\s\S]*?# Signatures/, '')));
    expectReason('DUPLICATE_SIGNER', swap('name = "bob"', 'name = "alice"'));
    expectReason('DUPLICATE_SIGNER', swap('"bob", "charlie"', '"bob", "bob"'));
  });

  test('C030 and C033: the form of keys and signatures', () => {
    const key = '0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798';
    const swap = (from: string, to: string) => parse(FOUNDING_EXAMPLE.replace(from, to));
    expect(swap(key, key.toUpperCase()).signatures).toEqual(parse(FOUNDING_EXAMPLE).signatures);
    for (const bad of [`04${key.slice(2)}`, key.slice(2), `${key}00`, '', 'z'.repeat(66)]) {
      expectReason('BAD_KEY', () => swap(key, bad), bad);
    }
    const signature = '1f'.repeat(64);
    for (const bad of [signature.slice(2), `${signature}00`, signature.toUpperCase(), '']) {
      expectReason('BAD_SIGNATURE', () => swap(signature, bad), bad);
    }
    expectReason('MANIFEST_AMBIGUOUS', () => swap(`key = "${key}"`, `key = "${key}", public_key = "${key}"`));
    expectReason('FIELD_REQUIRED', () => swap(`key = "${key}", `, ''));
  });

  test('C042: too many signers are refused before one is looked at', () => {
    const entries = Array.from({ length: 3000 }, () => '{name="x"}').join(',');
    refused('TOO_MANY_SIGNERS', `[signatures]\nthreshold = "1-of-1"\nmaintainers = [${entries}]`);
  });

  test('events, network and limits keep to their forms', () => {
    refused('EVENT_RESERVED', '[events]\ntopics = ["other.topic"]');
    refused('BAD_VALUE', '[network]\noutbound = ["example.org"]');
    refused('BAD_VALUE', '[network]\noutbound = ["example.org:65536"]');
    refused('BAD_VALUE', '[network]\ninbound = [0]');
    refused('BAD_VALUE', '[limits]\nmemory_mb = -1');
    refused('BAD_VALUE', '[restart]\npolicy = "sometimes"');
    refused('BAD_VALUE', 'limits = 3');
    refused('BAD_VALUE', '[[limits]]');
  });
});
