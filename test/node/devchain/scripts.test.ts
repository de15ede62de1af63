import { describe, expect, it } from 'vitest';
import { parseTransaction } from '../../../src/core/bitcoin/transaction.js';
import { fromHex, hashToDisplay, toHex } from '../../../src/core/bytes.js';
import { knownBlock } from '../../../src/node/devchain/check-block.js';
import { isLowS, parseStrictDer, taprootKey } from '../../../src/node/devchain/keys.js';
import { genesisBlock, subsidyAt } from '../../../src/node/devchain/params.js';
import {
  countSigops,
  isReturnOfPushes,
  keyHashScriptCode,
  pushNumber,
  type ScriptKind,
  scriptKind,
} from '../../../src/node/devchain/script.js';
import { createSighashSource } from '../../../src/node/devchain/sighash.js';

function hex(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === undefined) throw new Error(`no hex: ${text}`);
  return bytes;
}

describe('what the devchain is made of', () => {
  it('begins with the genesis block of regtest', () => {
    const block = knownBlock(genesisBlock());
    expect(hashToDisplay(block.hash)).toBe('0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206');
    expect(block.transactions.map((known) => known.txid)).toEqual([block.header.merkleRoot]);
  });

  it('halves the subsidy each 150 blocks', () => {
    const at = (height: number): bigint => subsidyAt(height);
    expect([1, 149, 150, 299, 300, 150 * 33, 150 * 64, 150 * 1000].map(at)).toEqual([
      5_000_000_000n,
      5_000_000_000n,
      2_500_000_000n,
      2_500_000_000n,
      1_250_000_000n,
      0n,
      0n,
      0n,
    ]);
  });

  it('hashes what a P2WPKH input signs (BIP 143, native P2WPKH example)', () => {
    const transaction = parseTransaction(
      hex(
        '0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89d182d2' +
          '79655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f85' +
          'c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000',
      ),
    );
    const keyHash = hex('1d0f172a0ecb48aee1be1f2687d2963ae33f71a1');
    const spent = { valueSats: 600_000_000n, scriptPubkey: Uint8Array.of(0, 20, ...keyHash) };
    const source = createSighashSource(transaction, [{ valueSats: 0n, scriptPubkey: new Uint8Array(0) }, spent]);
    expect(toHex(source.witnessV0(1, keyHashScriptCode(keyHash), 1))).toBe(
      'c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670',
    );
  });

  it('tweaks a taproot key without scripts (BIP 86, first receiving address)', () => {
    const key = taprootKey(hex('41f41d69260df4cf277826a9b65a3717e4eeddbeedf637f212ca096576479361'));
    expect(toHex(key.outputKey)).toBe('a60869f0dbcf1dc659c9cecbaf8050135ea9e8cdc487053f1dc6880949dc684c');
  });

  it('pushes numbers in their shortest form (BIP 34)', () => {
    const pushes = [0, 1, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 8_388_607, 8_388_608];
    expect(pushes.map((value) => toHex(pushNumber(value)))).toEqual([
      '00',
      '51',
      '60',
      '0111',
      '017f',
      '028000',
      '02ff00',
      '020001',
      '02ff7f',
      '03008000',
      '03ffff7f',
      '0400008000',
    ]);
  });

  const kinds: [string, ScriptKind][] = [
    [`0014${'11'.repeat(20)}`, 'p2wpkh'],
    [`0020${'11'.repeat(32)}`, 'p2wsh'],
    [`0010${'11'.repeat(16)}`, 'other'],
    [`5120${'11'.repeat(32)}`, 'p2tr'],
    ['51024e73', 'anchor'],
    ['51024e74', 'witness-unknown'],
    [`5220${'11'.repeat(32)}`, 'witness-unknown'],
    [`76a914${'11'.repeat(20)}88ac`, 'p2pkh'],
    [`a914${'11'.repeat(20)}87`, 'p2sh'],
    ['51', 'anyone'],
    ['6a', 'unspendable'],
    ['6a0401020304', 'unspendable'],
    ['', 'other'],
    [`21${'02'.repeat(33)}ac`, 'other'],
    ['51'.repeat(10_001), 'unspendable'],
  ];
  for (const [script, kind] of kinds) {
    it(`knows ${script.slice(0, 20) || 'the empty script'} as ${kind}`, () => {
      expect(scriptKind(hex(script))).toBe(kind);
    });
  }

  it('counts signature operations without running a script', () => {
    expect(countSigops(hex(`76a914${'ac'.repeat(20)}88ac`))).toBe(1);
    expect(countSigops(hex('acadaeaf'))).toBe(42);
    // What follows a push that the script is too short for does not count.
    expect(countSigops(hex('ac4cffacac'))).toBe(1);
    expect(countSigops(hex('4d0200acacac'))).toBe(1);
    expect(countSigops(hex('4e02000000acacac'))).toBe(1);
  });

  it('tells OP_RETURN with pushes from OP_RETURN with anything else', () => {
    expect(isReturnOfPushes(hex('6a'))).toBe(true);
    expect(isReturnOfPushes(hex('6a026869515260'))).toBe(true);
    expect(isReturnOfPushes(hex('6aac'))).toBe(false);
    expect(isReturnOfPushes(hex('6a0568'))).toBe(false);
    expect(isReturnOfPushes(hex('51'))).toBe(false);
  });

  const r = `0220${'11'.repeat(32)}`;
  const s = `0220${'22'.repeat(32)}`;
  const strict: [string, string, boolean][] = [
    ['plain', `3044${r}${s}`, true],
    ['shortest', '3006020101020101', true],
    ['wrong total length', `3045${r}${s}`, false],
    ['wrong outer tag', `3144${r}${s}`, false],
    ['wrong inner tag', `3044${r.replace('02', '03')}${s}`, false],
    ['negative number', `3044${r}0220${'82'.repeat(32)}`, false],
    ['needless zero', `3045${r}022100${'22'.repeat(32)}`, false],
    ['needed zero', `3045${r}022100${'82'.repeat(32)}`, true],
    ['empty number', `3024${r}0200`, false],
    ['bytes behind', `3045${r}${s}00`, false],
    ['nothing', '', false],
  ];
  for (const [what, text, valid] of strict) {
    it(`${valid ? 'takes' : 'refuses'} a DER signature: ${what} (BIP 66)`, () => {
      expect(parseStrictDer(hex(text)) !== undefined).toBe(valid);
    });
  }

  it('tells low S from high S (BIP 146)', () => {
    const half = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
    expect([isLowS(half), isLowS(half + 1n)]).toEqual([true, false]);
  });
});
