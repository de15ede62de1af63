import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isJson, jsonItems, jsonKind, jsonMembers, jsonSpan, MAX_JSON_DEPTH } from '../../src/core/json-text.js';

const agrees = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

describe('JSON as text', () => {
  const rows = [
    ...[
      '',
      ' ',
      'nul',
      'nulll',
      'true false',
      '01',
      '-',
      '-01',
      '1.',
      '.5',
      '1e',
      '1e+',
      '+1',
      '0x1',
      'NaN',
      'Infinity',
    ],
    ...[
      '[',
      ']',
      '[,]',
      '[1,]',
      '[1 2]',
      '[1}',
      '{',
      '{}}',
      '{"a"}',
      '{"a":}',
      '{"a":1,}',
      '{a:1}',
      "{'a':1}",
      '{1:2}',
    ],
    ...[
      '"',
      '"\\"',
      '"\\x"',
      '"\\u12"',
      '"\\u12g4"',
      '"\n"',
      '"\u0000"',
      '"\t"',
      '\ufeff1',
      '\u00a01',
      '1\u000b',
      '/**/1',
    ],
    ...['0', '-0', '1e-8', '0.10000000', '21000000.00000000', '12345678901234567890', '"\\u00e9\\ud800"', '"é\u2028"'],
    ...[
      '[]',
      '{}',
      ' [ ] ',
      '[[],{}]',
      '{"":{"":[]}}',
      '\t{"a" : [1 , 2] , "a":null}\r\n',
      '"\u007f"',
      '[true,false,null]',
    ],
  ];
  it.each(rows)('judges %j as JSON.parse does', (text) => {
    expect(isJson(text)).toBe(agrees(text));
  });

  it('agrees with JSON.parse on random texts that are nearly JSON', () => {
    const letters = fc.constantFrom(...'{}[]",:\\u00eE+-.1230 truefalsn\n'.split(''));
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 24 }), (chars) => isJson(chars.join('')) === agrees(chars.join(''))),
      { numRuns: 20_000 },
    );
    fc.assert(
      fc.property(fc.json(), fc.nat(), letters, (text, place, letter) => {
        const at = place % (text.length + 1);
        const changed = text.slice(0, at) + letter + text.slice(at + 1);
        return isJson(text) && isJson(changed) === agrees(changed);
      }),
      { numRuns: 3_000 },
    );
  });

  it('gives parts as they were written', () => {
    const text = ' {"a": 0.10000000 , "\\u0062":[1e-8, {"x":"]"} ,12345678901234567890],"a":null} ';
    const members = jsonMembers(text, jsonSpan(text));
    const shown = members.map(([name, { start, end }]) => [name, text.slice(start, end), jsonKind(text, start)]);
    expect(shown).toEqual([
      ['a', '0.10000000', 'number'],
      ['b', '[1e-8, {"x":"]"} ,12345678901234567890]', 'array'],
      ['a', 'null', 'null'],
    ]);
    const list = members[1]?.[1] ?? { start: 0, end: 0 };
    expect(jsonItems(text, list).map(({ start, end }) => text.slice(start, end))).toEqual([
      '1e-8',
      '{"x":"]"}',
      '12345678901234567890',
    ]);
  });

  it('bounds the depth without a stack of its own to overflow', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(isJson(nested(MAX_JSON_DEPTH))).toBe(true);
    expect(isJson(nested(MAX_JSON_DEPTH + 1))).toBe(false);
    expect(isJson('['.repeat(1_000_000))).toBe(false);
    expect(isJson('{"a":'.repeat(200_000))).toBe(false);
  });
});
