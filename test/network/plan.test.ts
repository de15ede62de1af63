import { describe, expect, it } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import {
  grantWords,
  isEmptyGrant,
  type NetworkAllowance,
  type NetworkAsk,
  parseEndpoint,
  parseHost,
  settleNetwork,
} from '../../src/network/grants.js';
import { type NetworkPolicy, parseProxy, planNetwork } from '../../src/network/plan.js';
import { ONION, OPEN_POLICY } from './rig.js';

const NOTHING: NetworkAsk = { outbound: [], outboundAny: false, inbound: [], udp: false };
const PROXY: NetworkPolicy = { ...OPEN_POLICY, proxy: { host: '127.0.0.1', port: 9050 } };
const ONION_ONLY: NetworkPolicy = { ...PROXY, onlynet: 'onion' };

function reasonOf(work: () => unknown): string {
  try {
    work();
    return 'nothing was thrown';
  } catch (error) {
    return error instanceof HostError ? error.reason : String(error);
  }
}

function settle(ask: Partial<NetworkAsk>, allow: Partial<NetworkAllowance>) {
  return settleNetwork({ ...NOTHING, ...ask }, { ...NOTHING, private: [], ...allow });
}

function granted(ask: Partial<NetworkAsk>, marked: string[] = []) {
  return settle(ask, { ...ask, private: marked }).grants;
}

describe('host:port', () => {
  it.each([
    ['Pool.Example.:3333', { kind: 'name', host: 'pool.example', port: 3333 }],
    ['10.0.0.1:1', { kind: 'address', host: '10.0.0.1', port: 1 }],
    ['[2001:DB8::1]:65535', { kind: 'address', host: '2001:db8::1', port: 65535 }],
    ['[::ffff:1.2.3.4]:80', { kind: 'address', host: '1.2.3.4', port: 80 }],
    [`${ONION.toUpperCase()}:9735`, { kind: 'onion', host: ONION, port: 9735 }],
    [`www.${ONION}:80`, { kind: 'onion', host: `www.${ONION}`, port: 80 }],
    ['umbrel:8332', { kind: 'name', host: 'umbrel', port: 8332 }],
    ['1x.example:80', { kind: 'name', host: '1x.example', port: 80 }],
  ])('reads %s', (text, endpoint) => expect(parseEndpoint(text)).toEqual(endpoint));

  it.each([
    ...['', 'pool.example', ':80', 'pool.example:', 'pool.example:0', 'pool.example:65536', 'pool.example:080'],
    ...['pool.example:+80', 'pool.example:8e1', 'pool.example: 80', 'pool.example:80 ', 'a:b:80', '::1:80', '[::1]80'],
    ...['[pool.example]:80', '[10.0.0.1:80', '[fe80::1%lo]:80', 'tcp://pool.example:80', 'user@pool.example:80'],
    ...[
      '2130706433:80',
      '0x7f.1:80',
      '0x7f000001:80',
      '0177.0.0.1:80',
      '127.1:80',
      '1.2.3:80',
      '1.2.3.4.5:80',
      '0x:80',
    ],
    ...[
      '-a.example:80',
      'a-.example:80',
      'a..example:80',
      '.:80',
      'ex_ample:80',
      'bücher.example:80',
      'a\0.example:80',
    ],
    ...[`${'a'.repeat(64)}.example:80`, `${'a.'.repeat(126)}ab:80`, '*.example:80', 'pool.example:80\n'],
    ...['abc.onion:80', `${ONION.replace('2', '3')}:80`, 'expyuzz4wqqyqhjn.onion:80', 'onion:80'],
  ])('refuses %j', (text) => expect(reasonOf(() => parseEndpoint(text))).toBe('BAD_VALUE'));

  it('takes a host of 253 characters, and none of 254', () => {
    const long = `${'a.'.repeat(126)}a`;
    expect(parseHost(long)?.host).toBe(long);
    expect(parseHost(`${long}a`)).toBeUndefined();
  });
});

describe('what is granted', () => {
  it('is what the manifest asks and the operator allows', () => {
    const { grants, withheld, unasked } = settle(
      { outbound: ['a.example:1', 'b.example:2'], inbound: [1, 2, 2], udp: true },
      { outbound: ['B.example:2', 'c.example:3'], inbound: [2, 3] },
    );
    expect(grants.outbound.map(({ host }) => host)).toEqual(['b.example']);
    expect(grants).toMatchObject({ inbound: [2], udp: false, outboundAny: false });
    expect(withheld).toEqual(['outbound a.example:1', 'inbound 1', 'udp']);
    expect(unasked).toEqual(['outbound c.example:3', 'inbound 3']);
    expect(isEmptyGrant(settle({ outboundAny: true, udp: true }, {}).grants)).toBe(true);
  });

  it('lets "any" of one side be narrowed by the list of the other', () => {
    const narrowed = settle({ outboundAny: true }, { outbound: ['a.example:1', '10.0.0.1:8332'] });
    expect(grantWords(narrowed.grants)).toEqual(['tcp to a.example:1', 'tcp to 10.0.0.1:8332']);
    expect(narrowed.withheld).toEqual(['outbound_any']);
    const widened = settle({ outbound: ['a.example:1', '10.0.0.1:8332', '9.9.9.9:9'] }, { outboundAny: true });
    expect(grantWords(widened.grants)).toEqual(['tcp to a.example:1', 'tcp to 9.9.9.9:9']);
    expect(widened.withheld).toEqual(['outbound 10.0.0.1:8332']);
  });

  it("leads to private addresses only by the operator's own line or mark", () => {
    const outbound = ['a.lan:1', 'b.lan:1', '10.0.0.1:1'];
    const { grants } = settle({ outbound }, { outbound, private: ['b.lan:1'] });
    expect(grants.outbound.map(({ allowPrivate }) => allowPrivate)).toEqual([false, true, true]);
    expect(reasonOf(() => settle({ outbound }, { outbound: [], private: ['b.lan:1'] }))).toBe('BAD_VALUE');
  });

  it('is told in words', () => {
    const all = granted({ outbound: ['[2001:db8::1]:1'], outboundAny: true, inbound: [3333], udp: true });
    expect(grantWords(all)).toEqual([
      ...['tcp to [2001:db8::1]:1', 'tcp to any public address', 'tcp on port 3333'],
      ...['udp to [2001:db8::1]:1', 'udp to any public address', 'udp on port 3333'],
    ]);
  });
});

describe('the plan', () => {
  it('gives each name an address of its own and each literal itself', () => {
    const outbound = ['pool.example:3333', 'pool.example:443', 'b.example:443', '203.0.113.7:80', '[2001:db8::7]:80'];
    const plan = planNetwork(granted({ outbound }), OPEN_POLICY);
    expect(plan.hosts).toEqual([
      { address: '127.0.1.2', name: 'pool.example' },
      { address: '127.0.1.3', name: 'b.example' },
    ]);
    expect(plan.listeners.map(({ id }) => id)).toEqual([
      ...['tcp 127.0.1.2:3333', 'tcp 127.0.1.2:443', 'tcp 127.0.1.3:443', 'tcp 203.0.113.7:80', 'tcp [2001:db8::7]:80'],
    ]);
    expect(plan).toMatchObject({ env: {}, inbound: [], warnings: [] });
  });

  it('has a SOCKS server for any public address, and says where', () => {
    const plan = planNetwork(granted({ outboundAny: true, udp: true }), OPEN_POLICY);
    expect(plan.listeners.map(({ id, purpose }) => [id, purpose.kind])).toEqual([
      ['tcp 127.0.1.1:1080', 'socks'],
      ['udp 127.0.1.1:1080', 'socks'],
    ]);
    expect(plan.env).toMatchObject({
      ALL_PROXY: 'socks5h://127.0.1.1:1080',
      all_proxy: 'socks5h://127.0.1.1:1080',
      MODHOST_SOCKS: '127.0.1.1:1080',
    });
    const moved = planNetwork(granted({ outboundAny: true, inbound: [1080, 1081] }), OPEN_POLICY);
    expect(moved.env.MODHOST_SOCKS).toBe('127.0.1.1:1082');
  });

  it('has no UDP without the grant', () => {
    const plan = planNetwork(granted({ outbound: ['a.example:1'], outboundAny: true, inbound: [7] }), OPEN_POLICY);
    expect(plan.listeners.every(({ kind }) => kind === 'tcp')).toBe(true);
    expect(plan.inbound).toEqual([{ port: 7, address: undefined, tcp: true, udp: false }]);
  });

  it('takes 300 names without a collision', () => {
    const outbound = Array.from({ length: 300 }, (_, index) => `h${index}.example:1`);
    const { hosts } = planNetwork(granted({ outbound }), OPEN_POLICY);
    expect(new Set(hosts.map(({ address }) => address)).size).toBe(300);
    expect(hosts[253]?.address).toBe('127.0.1.255');
    expect(hosts[254]?.address).toBe('127.0.2.0');
  });

  it('opens ports on loopback alone where a proxy is set', () => {
    expect(planNetwork(granted({ inbound: [7] }), PROXY).inbound[0]?.address).toBe('127.0.0.1');
    expect(planNetwork(granted({ inbound: [7] }), { ...PROXY, inboundAddress: '::1' }).inbound[0]?.address).toBe('::1');
    expect(planNetwork(granted({ inbound: [7] }), ONION_ONLY).inbound[0]?.address).toBe('127.0.0.1');
  });

  it('warns of a port that is wanted both ways', () => {
    expect(planNetwork(granted({ outbound: ['a.example:7'], inbound: [7] }), OPEN_POLICY).warnings).toHaveLength(1);
  });

  it.each([
    ['an onion service without a proxy', [`${ONION}:80`], OPEN_POLICY],
    ['a name under onlynet', ['a.example:1'], ONION_ONLY],
    ['an address under onlynet', ['8.8.8.8:1'], ONION_ONLY],
  ])('cannot have %s', (_, outbound, policy) => {
    expect(reasonOf(() => planNetwork(granted({ outbound }), policy))).toBe('NETWORK_UNAVAILABLE');
  });

  it('cannot have UDP beside a proxy, nor onlynet without one or with open ports', () => {
    for (const policy of [PROXY, ONION_ONLY]) {
      expect(reasonOf(() => planNetwork(granted({ outboundAny: true, udp: true }), policy))).toBe(
        'NETWORK_UNAVAILABLE',
      );
    }
    const none = { ...OPEN_POLICY, onlynet: 'onion' } as const;
    expect(reasonOf(() => planNetwork(granted({ outboundAny: true }), none))).toBe('NETWORK_UNAVAILABLE');
    const open = { ...ONION_ONLY, inboundAddress: '0.0.0.0' };
    expect(reasonOf(() => planNetwork(granted({ inbound: [7] }), open))).toBe('NETWORK_UNAVAILABLE');
    const strange = { ...OPEN_POLICY, inboundAddress: 'eth0' };
    expect(reasonOf(() => planNetwork(granted({ inbound: [7] }), strange))).toBe('BAD_VALUE');
  });

  it.each([
    '0.0.0.0:1',
    '[::]:1',
    '255.255.255.255:1',
    '239.1.1.1:1',
    'localhost:1',
    'x.localhost:1',
    '127.0.1.1:1080',
  ])('refuses %s, which names nothing to dial', (text) =>
    expect(reasonOf(() => planNetwork(granted({ outbound: [text] }), OPEN_POLICY))).toBe('BAD_VALUE'),
  );

  it('reads the proxy', () => {
    expect(parseProxy('127.0.0.1:9050')).toEqual({ host: '127.0.0.1', port: 9050 });
    expect(parseProxy('[::1]:9050')).toEqual({ host: '::1', port: 9050 });
    expect(parseProxy('localhost:9050')).toEqual({ host: 'localhost', port: 9050 });
    for (const text of ['', '9050', '127.0.0.1', 'socks5://127.0.0.1:9050', '127.1:9050', '127.0.0.1:70000']) {
      expect(
        reasonOf(() => parseProxy(text)),
        text,
      ).toBe('BAD_CONFIG');
    }
  });
});
