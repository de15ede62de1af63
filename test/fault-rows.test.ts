import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

/**
 * Rows of the catalogue of faults that this version answers for: manifests, the wire, handshake and identity, permissions,
 * events, and of the rest those that concern processes, log, node and operator. Not among them: what needs signatures, a
 * registry, archives, which are not served.
 */
const ROWS: Readonly<Record<string, string>> = {
  manifest: `
    C001 C002 C003 C004 C005 C006 C007 C008 C009 C010 C011 C012 C013 C014 C015 C016 C017 C018 C019 C020 C021 C022 C023`,
  wire: 'C065 C066 C067 C068 C069 C070 C071 C072 C073 C074 C075 C076 C077 C078 C079 C080 C081',
  identity: 'C082 C083 C084 C085 C086 C087 C088 C089 C090 C091',
  permissions: 'C092 C093 C094 C095 C096 C097 C098 C099 C100 C101 C102',
  events: 'C103 C104 C105 C106 C107 C108 C109 C110 C111 C112',
  processes: 'C138 C139 C140 C142 C143 C144 C145 C146 C147 C148 C149 C151 C153 C154',
  calls: 'C100 C128 C129 C130 C131 C132 C133 C134 C135 C136 C137 C138',
  timers: 'C113 C114 C115 C116 C117 C118 C159',
  files: 'C119 C120 C121',
  storage: 'C122 C123 C124 C125 C126 C127 C160',
  host: 'C156 C157 C158 C159 C164 C165 C166 C167 C168 C169 C172 C174',
};

/** Beginning of a test or of a table of tests up to its title, and the title. */
const TITLE = /\b(?:it|test|describe)(?:\.\w+(?:\([^)]*\))?)*\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g;
/** Rows that stand in a table, as the first thing of a line of it: `['C082', …`. */
const TABLE_ROW = /\[\s*'(C\d{3}\b[^']*)'/g;

/** Rows that at least one title of a test in the file names. */
function rowsOf(text: string): string[] {
  const titles = [...text.matchAll(TITLE)].map((match) => match[2] ?? '');
  const tables = [...text.matchAll(TABLE_ROW)].map((match) => match[1] ?? '');
  return [...titles, ...tables].flatMap((title) => title.match(/\bC\d{3}\b/g) ?? []);
}

function namedRows(): Set<string> {
  const root = new URL('.', import.meta.url);
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.test.ts') && name !== 'fault-rows.test.ts',
  );
  return new Set(files.flatMap((name) => rowsOf(readFileSync(new URL(name, root), 'utf8'))));
}

describe('the catalogue of faults', () => {
  const named = namedRows();
  for (const [group, rows] of Object.entries(ROWS)) {
    it(`has a test for every row on ${group}`, () => {
      const wanted = rows.trim().split(/\s+/);
      expect(wanted.filter((row) => !named.has(row))).toEqual([]);
    });
  }
});
