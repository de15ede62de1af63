import { describe, expect, test } from 'vitest';
import { isBitcoinAddress } from '../../src/core/bitcoin-address.js';
import { checkCompatibility } from '../../src/manifest/compatibility.js';
import { secretConfigKeys, validateModuleConfig } from '../../src/manifest/config.js';
import { parseManifest } from '../../src/manifest/parse.js';
import { FULL_EXAMPLE } from './example.js';
import { expectReason } from './expect-reason.js';

const parse = (text: string) => parseManifest(new TextEncoder().encode(text));
const HEAD = 'name = "a"\nversion = "1.2.3"\n';
const PAYOUT = 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4';

describe('module configuration', () => {
  const manifest = parse(FULL_EXAMPLE);

  test('values are checked, defaults filled in, absent keys left out', () => {
    const config = validateModuleConfig(manifest, { payout: PAYOUT, password: 'long enough', label: 'x' });
    expect({ ...config }).toEqual({
      payout: PAYOUT,
      password: 'long enough',
      label: 'x',
      interval: 90_000,
      mode: 'slow',
      seeds: ['00ff'],
    });
    expect(Object.getPrototypeOf(config)).toBeNull();
    expect([...secretConfigKeys(manifest)]).toEqual(['password']);
    expect(JSON.parse(JSON.stringify(config))).toEqual({ ...config });
  });

  test('what is missing, unknown or of the wrong kind is told by its reason, never by its value', () => {
    expectReason('FIELD_REQUIRED', () => validateModuleConfig(manifest, {}));
    const unknown = expectReason('UNKNOWN_FIELD', () =>
      validateModuleConfig(manifest, { payout: PAYOUT, intreval: '1s' }),
    );
    expect(unknown.message).toContain("'interval'");
    const secret = expectReason('BAD_VALUE', () =>
      validateModuleConfig(manifest, { payout: PAYOUT, password: 'hunter2' }),
    );
    expect(secret.message + JSON.stringify(secret.details)).not.toContain('hunter2');
    const bad: Record<string, unknown>[] = [
      { interval: '90' },
      { interval: 90 },
      { interval: '10ms' },
      { mode: 'medium' },
      { seeds: '00ff' },
      { seeds: ['0'] },
      { label: 7 },
      { label: 'a\0b' },
      { payout: PAYOUT.replace('4', '5') },
    ];
    for (const values of bad) {
      expectReason(
        'BAD_VALUE',
        () => validateModuleConfig(manifest, { payout: PAYOUT, ...values }),
        JSON.stringify(values),
      );
    }
    expectReason('UNKNOWN_FIELD', () => validateModuleConfig(manifest, { payout: PAYOUT, ['__proto__']: 1 }));
    expectReason('UNKNOWN_FIELD', () => validateModuleConfig(parse(HEAD), { anything: 1 }));
  });

  test('integers stay exact or are refused', () => {
    const counted = parse(`${HEAD}[config]\nn = { type = "integer", max = 9007199254740991 }`);
    expect(validateModuleConfig(counted, { n: 9007199254740991n }).n).toBe(9007199254740991);
    for (const n of [9007199254740992n, 2 ** 53, 1.5, Number.NaN, -0, '1', true]) {
      expectReason('BAD_VALUE', () => validateModuleConfig(counted, { n }), String(n));
    }
  });

  test('a manifest whose defaults break its own rules does not load', () => {
    const entries = [
      'k = { type = "integer", default = "1" }',
      'k = { type = "integer", default = 1, min = 2 }',
      'k = { type = "string", default = "c", enum = ["a", "b"] }',
      'k = { type = "string", enum = ["a", 1] }',
      'k = { type = "integer", min = 3, max = 2 }',
      'k = { type = "float" }',
      'k = { type = "string", required = true, default = "x" }',
      'k = "string"',
    ];
    for (const entry of entries) expectReason('BAD_VALUE', () => parse(`${HEAD}[config]\n${entry}`), entry);
    expectReason('MANIFEST_AMBIGUOUS', () =>
      parse(`${HEAD}[config]\nk = { type = "string" }\n[config_schema]\nk = "text"`),
    );
    expectReason('FIELD_REQUIRED', () => parse(`${HEAD}[config]\nk = { default = "x" }`));
  });
});

test('C021: what a module demands of the host, and what only warns', () => {
  for (const line of [
    'min_node_version = "1.0.1"',
    'min_consensus_version = "2.0.0"',
    'min_protocol_version = "1.1.0"',
  ]) {
    expectReason('INCOMPATIBLE', () => checkCompatibility(parse(`${HEAD}[compatibility]\n${line}`), '0.1.0'), line);
  }
  expectReason('INCOMPATIBLE', () =>
    checkCompatibility(parse(`${HEAD}[dependencies]\nblvm-node = ">=1.1.0"`), '0.1.0'),
  );
  expectReason('INCOMPATIBLE', () => checkCompatibility(parse(`${HEAD}[dependencies]\nmodhost = ">=0.2.0"`), '0.1.0'));
  expect(checkCompatibility(parse(`${HEAD}[compatibility]\ntested_with = ["0.9.0"]`), '0.1.0')).toHaveLength(1);
  expect(
    checkCompatibility(parse(`${HEAD}[compatibility]\ntested_with = ["1.0.0"]\nmin_node_version = "1.0.0"`), '0.1.0'),
  ).toEqual([]);
});

test('Bitcoin addresses: published examples pass, one changed character fails', () => {
  const good = [
    '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa',
    '3P14159f73E4gFr7JterCCQh9QjiTjiZrG',
    'mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn',
    'BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4',
    'tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7',
    'bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0',
    'bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y',
  ];
  for (const address of good) {
    expect(isBitcoinAddress(address), address).toBe(true);
    for (const at of [0, 4, 10, address.length - 1]) {
      const changed = address.slice(0, at) + (address[at] === 'q' ? 'p' : 'q') + address.slice(at + 1);
      expect(isBitcoinAddress(changed), changed).toBe(false);
    }
  }
  // BIP 350: version 1 with the checksum of version 0, mixed case, empty program.
  for (const bad of [
    'bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd',
    'tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vQ24jc47',
    'bc1gmk9yu',
    '',
    '1',
    '0'.repeat(200),
  ]) {
    expect(isBitcoinAddress(bad), bad).toBe(false);
  }
});
