import { describe, expect, it } from 'vitest';
import { type CliSpec, CliSpec as CliSpecType } from '../../gen/ts/modhost/v1/rpc.js';
import { HostError } from '../../src/contract/error.js';
import { HOST_METHODS, nodeMethodKind, nodeMethods, OVERRIDABLE_METHODS } from '../../src/contract/node-methods.js';
import { createRpcService } from '../../src/services/rpc.js';
import { createEndpointBook, type EndpointBook, MAX_RPC_ENDPOINTS } from '../../src/session/endpoint-book.js';
import type { Invocations } from '../../src/session/invocations.js';
import { callContext, reasonOf } from './node-double.js';

const context = callContext();
const invocations = {} as Invocations;

function join(book: EndpointBook, moduleId: string, overrides: readonly string[] = []) {
  const end = new AbortController();
  const session = { identity: { moduleId }, invocations, ended: end.signal };
  const service = createRpcService(session, {
    book,
    overrides,
    isPassedThrough: (method) => method === 'somethingnew',
    isModule: (name) => ['a', 'b', 'my-module'].includes(name),
  });
  return {
    endpoint: (method: string, description = 'Does it.', timeoutMs = 0) =>
      reasonOf(() => service.registerEndpoint({ method, description, timeoutMs }, context)),
    remove: (method: string) => reasonOf(() => service.unregisterEndpoint({ method }, context)),
    override: (method: string, description = 'Better.') =>
      reasonOf(() => service.registerCoreOverride({ method, description }, context)),
    removeOverride: (method: string) => reasonOf(() => service.unregisterCoreOverride({ method }, context)),
    cli: (spec: CliSpec | undefined) => reasonOf(() => service.registerCli({ spec }, context)),
    end: () => end.abort(new HostError('SESSION_CLOSED', 'over')),
  };
}

describe('names of endpoints', () => {
  it.each([
    ['getblock', 'RESERVED_NAME'],
    ['stop', 'RESERVED_NAME'],
    ['sendtoaddress', 'RESERVED_NAME'],
    ['listmodules', 'RESERVED_NAME'],
    ['help', 'RESERVED_NAME'],
    ['somethingnew', 'RESERVED_NAME'],
    ['other-module.x', 'RESERVED_NAME'],
    ['a.x', 'RESERVED_NAME'],
    ['rpc.discover', 'RESERVED_NAME'],
    ['my-module.', 'INVALID_REQUEST'],
    ['.x', 'INVALID_REQUEST'],
    ['my-module.x.y', 'INVALID_REQUEST'],
    ['my-module..x', 'INVALID_REQUEST'],
    ['with space', 'INVALID_REQUEST'],
    ['with\nnewline', 'INVALID_REQUEST'],
    ['good\n', 'INVALID_REQUEST'],
    ['Upper', 'INVALID_REQUEST'],
    ['_x', 'INVALID_REQUEST'],
    ['9x', 'INVALID_REQUEST'],
    ['x-y', 'INVALID_REQUEST'],
    ['xé', 'INVALID_REQUEST'],
    ['gеtblock', 'INVALID_REQUEST'],
    ['get\u200bblock', 'INVALID_REQUEST'],
    ['../x', 'INVALID_REQUEST'],
    ['x'.repeat(65), 'INVALID_REQUEST'],
    ['x'.repeat(10_000), 'INVALID_REQUEST'],
    [`my-module.${'x'.repeat(65)}`, 'INVALID_REQUEST'],
    ['__proto__', 'INVALID_REQUEST'],
    ['', 'FIELD_REQUIRED'],
    ['x'.repeat(64), 'none'],
    ['my-module.getblock', 'none'],
    ['constructor', 'none'],
    ['pool_stats', 'none'],
  ])('C101: %j is %s', async (method, expected) => {
    const book = createEndpointBook();
    expect(await join(book, 'my-module').endpoint(method)).toBe(expected);
    expect(book.endpoints()).toHaveLength(expected === 'none' ? 1 : 0);
  });

  it('C101: every method of a node and of the host is theirs', async () => {
    const a = join(createEndpointBook(), 'a');
    for (const method of [...nodeMethods(), ...HOST_METHODS]) expect(await a.endpoint(method)).toBe('RESERVED_NAME');
  });
});

describe('endpoints', () => {
  it('have one owner, bounded texts and times, and can be described anew', async () => {
    const book = createEndpointBook();
    const [a, b] = [join(book, 'a'), join(book, 'b')];
    expect(await a.endpoint('one', 'First \u202eword', 5)).toBe('none');
    expect(book.endpoint('one')).toMatchObject({ description: 'First \\u{202e}word', timeoutMs: 5, module: 'a' });
    expect(await b.endpoint('one')).toBe('NAME_TAKEN');
    expect(await b.remove('one')).toBe('NOT_FOUND');
    expect(await a.endpoint('one', 'Second')).toBe('none');
    expect(book.endpoint('one')).toMatchObject({ description: 'Second', timeoutMs: 30_000 });
    expect(await a.endpoint('two', 'x', 60_001)).toBe('OUT_OF_RANGE');
    expect(await a.endpoint('two', '')).toBe('FIELD_REQUIRED');
    expect(await a.endpoint('two', 'x\ny')).toBe('INVALID_REQUEST');
    expect(await a.endpoint('two', 'x'.repeat(1_025))).toBe('INVALID_REQUEST');
    expect(await a.remove('one')).toBe('none');
    expect(await a.remove('one')).toBe('NOT_FOUND');
    expect(await b.endpoint('one')).toBe('none');
  });

  it('are counted with overrides, and gone with their session', async () => {
    const book = createEndpointBook();
    const a = join(book, 'a', ['analyzepsbt']);
    expect(await a.override('analyzepsbt')).toBe('none');
    for (let i = 1; i < MAX_RPC_ENDPOINTS; i++) expect(await a.endpoint(`m_${i}`)).toBe('none');
    expect(await a.endpoint('one_more')).toBe('QUOTA_EXCEEDED');
    expect(await a.endpoint('m_1', 'again')).toBe('none');
    const again = join(book, 'a');
    expect(await again.endpoint('m_1', 'by the next spawn')).toBe('none');
    a.end();
    expect(book.endpoints().map(({ description }) => description)).toEqual(['by the next spawn']);
    expect(book.overrides()).toEqual([]);
    expect(await a.endpoint('m_2')).toBe('SESSION_CLOSED');
  });
});

describe('overrides', () => {
  it('are those of the list that the manifest names, one holder each', async () => {
    const book = createEndpointBook();
    const all = [...nodeMethods()];
    const a = join(book, 'a', all);
    for (const method of all) {
      expect([method, await a.override(method)]).toEqual([
        method,
        OVERRIDABLE_METHODS.has(method) ? 'none' : 'RESERVED_NAME',
      ]);
    }
    const b = join(book, 'b', ['analyzepsbt']);
    expect(await b.override('analyzepsbt')).toBe('NAME_TAKEN');
    expect(await b.override('getdescriptorinfo')).toBe('RESERVED_NAME');
    expect(await b.removeOverride('analyzepsbt')).toBe('NOT_FOUND');
    expect(await a.removeOverride('analyzepsbt')).toBe('none');
    expect(await b.override('analyzepsbt')).toBe('none');
    expect(await a.override('')).toBe('FIELD_REQUIRED');
  });

  it('touch nothing that acts', () => {
    for (const method of OVERRIDABLE_METHODS) expect(nodeMethodKind(method)).toBe('reading');
  });
});

describe('command sets', () => {
  const spec = (over: object = {}): CliSpec =>
    CliSpecType.fromPartial({ name: 'a', subcommands: [{ name: 'run' }], ...over });
  const argument = (over: object) => spec({ subcommands: [{ name: 'run', arguments: [{ name: 'x', ...over }] }] });
  const many = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `n${i}` }));

  it.each<[string, CliSpec | undefined, string]>([
    ['no set', undefined, 'FIELD_REQUIRED'],
    ['no name', spec({ name: '' }), 'FIELD_REQUIRED'],
    ['a name with a dot', spec({ name: 'a.b' }), 'INVALID_REQUEST'],
    ['a name that is a flag', spec({ name: '--help' }), 'INVALID_REQUEST'],
    ['the name of another module', spec({ name: 'b' }), 'NAME_TAKEN'],
    ['no subcommand', spec({ subcommands: [] }), 'FIELD_REQUIRED'],
    ['65 subcommands', spec({ subcommands: many(65) }), 'OUT_OF_RANGE'],
    ['a subcommand twice', spec({ subcommands: [{ name: 'x' }, { name: 'x' }] }), 'INVALID_REQUEST'],
    ['65 arguments', spec({ subcommands: [{ name: 'x', arguments: many(65) }] }), 'OUT_OF_RANGE'],
    [
      'an argument twice',
      spec({ subcommands: [{ name: 'x', arguments: [{ name: 'y' }, { name: 'y' }] }] }),
      'INVALID_REQUEST',
    ],
    [
      'a flag twice',
      spec({
        subcommands: [
          {
            name: 'x',
            arguments: [
              { name: 'y', shortName: 'v' },
              { name: 'z', shortName: 'v' },
            ],
          },
        ],
      }),
      'INVALID_REQUEST',
    ],
    ['a flag with dashes', argument({ longName: '--x' }), 'INVALID_REQUEST'],
    ['a short flag of two letters', argument({ shortName: 'vv' }), 'INVALID_REQUEST'],
    ['the flag for help', argument({ longName: 'help' }), 'INVALID_REQUEST'],
    ['a long about', spec({ about: 'x'.repeat(257) }), 'INVALID_REQUEST'],
    ['an about of two lines', spec({ about: 'x\ny' }), 'INVALID_REQUEST'],
    ['too much time', spec({ subcommands: [{ name: 'x', timeoutMs: 600_001 }] }), 'OUT_OF_RANGE'],
    ['64 subcommands', spec({ subcommands: many(64) }), 'none'],
  ])('%s: %#', async (_name, given, expected) => {
    const book = createEndpointBook();
    expect(await join(book, 'a').cli(given)).toBe(expected);
    expect(book.commandSets()).toHaveLength(expected === 'none' ? 1 : 0);
  });

  it('are found by their name and by their module, escaped and filled in, one per module', async () => {
    const book = createEndpointBook();
    const [a, b] = [join(book, 'a'), join(book, 'b')];
    expect(await a.cli(spec({ name: 'tool', about: 'about\u202e' }))).toBe('none');
    expect(book.commandSet('tool')?.spec).toMatchObject({
      about: 'about\\u{202e}',
      subcommands: [{ timeoutMs: 60_000 }],
    });
    expect(book.commandSet('a')?.spec.name).toBe('tool');
    expect(await b.cli(spec({ name: 'tool' }))).toBe('NAME_TAKEN');
    expect(await a.cli(spec({ name: 'other' }))).toBe('none');
    expect(book.commandSets().map(({ spec: { name } }) => name)).toEqual(['other']);
    a.end();
    expect(book.commandSet('a')).toBeUndefined();
  });
});
