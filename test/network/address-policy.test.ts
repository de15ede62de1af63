import { describe, expect, it } from 'vitest';
import {
  addressKind,
  addressOfBytes,
  bytesOfAddress,
  createLocalNetworks,
  isNoHost,
  kindHere,
  parseAddress,
} from '../../src/network/address-policy.js';

function kindOf(text: string): string | undefined {
  const address = parseAddress(text);
  return address && addressKind(address);
}

describe('what an address is for', () => {
  it.each([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['10.0.0.1', 'private'],
    ['100.63.255.255', 'public'],
    ['100.64.0.0', 'shared'],
    ['100.127.255.255', 'shared'],
    ['100.128.0.0', 'public'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['169.254.169.254', 'link-local'],
    ['172.15.255.255', 'public'],
    ['172.16.0.0', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.0', 'public'],
    ['192.0.0.1', 'reserved'],
    ['192.0.0.9', 'public'],
    ['192.0.0.170', 'reserved'],
    ['192.0.2.1', 'documentation'],
    ['192.88.99.1', 'reserved'],
    ['192.168.1.1', 'private'],
    ['198.17.255.255', 'public'],
    ['198.18.0.1', 'reserved'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['223.255.255.255', 'public'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.250', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'reserved'],
    ['8.8.8.8', 'public'],
    ['1.1.1.1', 'public'],
  ])('IPv4 %s is %s', (text, kind) => expect(kindOf(text)).toBe(kind));

  it.each([
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::127.0.0.1', 'reserved'],
    ['::ffff:10.0.0.1', 'private'],
    ['::ffff:7f00:1', 'loopback'],
    ['::ffff:169.254.169.254', 'link-local'],
    ['::ffff:8.8.8.8', 'public'],
    ['::ffff:0:10.0.0.1', 'reserved'],
    ['64:ff9b::10.0.0.1', 'private'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['64:ff9b::8.8.8.8', 'public'],
    ['64:ff9b:1::8.8.8.8', 'reserved'],
    ['2002:a00:1::', 'private'],
    ['2002:7f00:1::1', 'loopback'],
    ['2002:c0a8:101:1::1', 'private'],
    ['2002:a9fe:a9fe::', 'link-local'],
    ['2002:808:808::1', 'public'],
    ['100::1', 'reserved'],
    ['2001::1', 'reserved'],
    ['2001:0:7f00:1::', 'reserved'],
    ['2001:1::1', 'public'],
    ['2001:3::1', 'public'],
    ['2001:20::1', 'reserved'],
    ['2001:db8::1', 'documentation'],
    ['3fff:fff::1', 'documentation'],
    ['3fff:1000::1', 'public'],
    ['2606:4700::1111', 'public'],
    ['4000::1', 'reserved'],
    ['5f00::1', 'reserved'],
    ['fc00::1', 'private'],
    ['fd12:3456::1', 'private'],
    ['fe80::1', 'link-local'],
    ['fec0::1', 'private'],
    ['ff02::1', 'multicast'],
    ['1:2:3:4:5:6:7:8', 'reserved'],
  ])('IPv6 %s is %s', (text, kind) => expect(kindOf(text)).toBe(kind));

  it.each([
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '127.0.0.01',
    '1.2.3.4.5',
    '256.1.1.1',
    ' 127.0.0.1',
    '127.0.0.1.',
    '[::1]',
    'fe80::1%eth0',
    '::1%1',
    '1::2::3',
    'localhost',
    '',
  ])('takes %j for no address', (text) => expect(parseAddress(text)).toBeUndefined());

  it('has one spelling for one address', () => {
    for (const text of ['2001:DB8:0:0:0:0:0:1', '2001:0db8::0001', '2001:db8::0.0.0.1']) {
      expect(parseAddress(text)?.text).toBe('2001:db8::1');
    }
    expect(parseAddress('::FFFF:1.2.3.4')?.text).toBe('1.2.3.4');
    for (const text of ['1.2.3.4', '::1', '2001:db8::1']) {
      const address = parseAddress(text);
      expect(address && addressOfBytes(bytesOfAddress(address))).toEqual(address);
    }
    expect(addressOfBytes(Buffer.from('00000000000000000000ffff0a000001', 'hex'))?.text).toBe('10.0.0.1');
    expect(addressOfBytes(Buffer.alloc(5))).toBeUndefined();
  });

  it('knows what is no single host', () => {
    const noHosts = ['0.0.0.0', '::', '255.255.255.255', '224.0.0.1', 'ff02::1', '::ffff:0.0.0.0'];
    for (const text of noHosts) expect(isNoHost(parseAddress(text) ?? fail(text)), text).toBe(true);
    for (const text of ['127.0.0.1', '10.0.0.1', '8.8.8.8', '::1']) {
      expect(isNoHost(parseAddress(text) ?? fail(text)), text).toBe(false);
    }
  });
});

describe('what is this machine', () => {
  const local = createLocalNetworks(() => ['8.8.4.4/24', '10.1.1.1/8', '2a00:1:2:3::9/64', '2600::1/3', '2a01::7/128']);
  it.each([
    ['8.8.4.4', 'own'],
    ['8.8.4.5', 'public'],
    ['10.1.1.1', 'private'],
    ['::ffff:8.8.4.4', 'own'],
    ['2a00:1:2:3::9', 'own'],
    ['2a00:1:2:3:ffff::1', 'own'],
    ['2a00:1:2:4::1', 'public'],
    ['2600::1', 'own'],
    ['2601::1', 'public'],
    ['2a01::7', 'own'],
    ['2a01::8', 'public'],
  ])('%s is %s', (text, kind) => expect(kindHere(parseAddress(text) ?? fail(text), local)).toBe(kind));

  it('lists the real ones', () => {
    expect(createLocalNetworks().has(parseAddress('127.0.0.1') ?? fail('v4'))).toBe(true);
  });
});

function fail(text: string): never {
  throw new Error(`${text} was not parsed`);
}
