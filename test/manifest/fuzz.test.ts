import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { parseManifest } from '../../src/manifest/parse.js';
import { FOUNDING_EXAMPLE, FULL_EXAMPLE } from './example.js';

const SEED = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);
const SAMPLES = [FOUNDING_EXAMPLE, FULL_EXAMPLE].map((text) => new TextEncoder().encode(text));
const FRAGMENTS = [
  '[',
  ']',
  '{',
  '}',
  '"',
  "'",
  '"""',
  "'''",
  '\\',
  '\n',
  '=',
  '.',
  ',',
  '#',
  '[[',
  '__proto__',
  'constructor',
  '\\u0000',
  '1e400',
  'nan',
  '0x',
  '9223372036854775807',
  '\ud800',
  '\u202e',
  '1979-05-27',
];

/** Parses bytes that nobody vouches for: a manifest or a HostError that is no INTERNAL, and nothing else. */
function assertContained(bytes: Uint8Array): void {
  try {
    expect(parseManifest(bytes).name).toMatch(/^[a-z]/);
  } catch (error) {
    expect(error).toBeInstanceOf(HostError);
    expect((error as HostError).reason).not.toBe('INTERNAL');
  }
  expect(Object.keys(Object.prototype)).toEqual([]);
}

test(`random bytes and random text never throw anything but a HostError (seed ${SEED})`, () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 512 }), assertContained), { seed: SEED, numRuns: 2000 });
  const text = fc.array(fc.oneof(fc.constantFrom(...FRAGMENTS), fc.string({ maxLength: 8 })), { maxLength: 60 });
  fc.assert(
    fc.property(text, (parts) => assertContained(new TextEncoder().encode(parts.join('')))),
    { seed: SEED, numRuns: 2000 },
  );
});

test(`mutated manifests never throw anything but a HostError (seed ${SEED})`, () => {
  const edit = fc.record({
    at: fc.nat(),
    drop: fc.nat(12),
    put: fc.oneof(fc.constantFrom(...FRAGMENTS), fc.string({ maxLength: 4 })),
  });
  let survived = 0;
  fc.assert(
    fc.property(fc.constantFrom(...SAMPLES), fc.array(edit, { minLength: 1, maxLength: 4 }), (sample, edits) => {
      let bytes: Uint8Array = sample;
      for (const { at, drop, put } of edits) {
        const start = at % bytes.length;
        bytes = Buffer.concat([bytes.subarray(0, start), new TextEncoder().encode(put), bytes.subarray(start + drop)]);
      }
      try {
        parseManifest(bytes);
        survived += 1;
      } catch {}
      assertContained(bytes);
    }),
    { seed: SEED, numRuns: 3000 },
  );
  // Some mutants must get past the syntax, or the test would only try the TOML parser.
  expect(survived).toBeGreaterThan(0);
});
