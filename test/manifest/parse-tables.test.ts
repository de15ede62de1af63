import { describe, expect, test } from 'vitest';
import type { ErrorReason } from '../../src/contract/error.js';
import { parseManifest } from '../../src/manifest/parse.js';
import { FOUNDING_EXAMPLE } from './example.js';
import { expectReason } from './expect-reason.js';

const HEAD = 'name = "a"\nversion = "1.2.3"\n';
const HASH = `sha256:${'ab'.repeat(32)}`;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const parse = (text: string) => parseManifest(bytes(text));
const refused = (reason: ErrorReason, rest: string, head = HEAD) =>
  expectReason(reason, () => parse(head + rest), JSON.stringify(rest.slice(0, 80)));

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
