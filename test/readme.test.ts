import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../src/cli/exit.js';
import { runProgram } from '../src/cli/program.js';
import { createContractRegistry } from '../src/contract/descriptors.js';
import { type EventFacts, readEventTypes } from '../src/contract/event-type.js';
import { GUARANTEE_NAMES } from '../src/contract/guarantee.js';
import { readMethods } from '../src/contract/methods.js';
import { sessionLimits } from '../src/host/facts.js';
import { NODE_COLUMNS, PUBLISHED_BY_HOST, TOLD_ONLY_BY } from '../src/host/published-events.js';
import { SERVICE_ENTRIES } from '../src/host/session-services.js';
import { createBubblewrapEngine } from '../src/sandbox/bubblewrap.js';
import { claimedContainment } from '../src/sandbox/containment.js';
import { createLandlockEngine, SCOPE_ABI } from '../src/sandbox/landlock.js';
import { DEFAULT_LIMITS } from '../src/sandbox/limits.js';
import { DEFAULT_EVENT_LIMITS } from '../src/services/event.js';
import { DEFAULT_CALL_BURST, DEFAULT_CALL_RATE, DEFAULT_CALLS_IN_FLIGHT } from '../src/session/quota.js';
import { filesBelow } from './architecture/source.js';
import { recordTerminal } from './cli/command-line.js';
import { fences, generatedSection, prose, ROOT, readPage, table } from './readme/markdown.js';

const PAGES = [
  'README.md',
  'CHANGELOG.md',
  'src/README.md',
  'src/node/devchain/README.md',
  'proto/README.md',
  'proto/modhost/event/README.md',
  'conformance/README.md',
  'conformance/modules/README.md',
  'conformance/node-api/README.md',
  'test/README.md',
  'test/fresh-debian/README.md',
  'modules/stratum-v2/README.md',
  'modules/stratum-v2/API.md',
];

const registry = createContractRegistry();

describe('the README', () => {
  it('has the two command lines, each as a block of its own', () => {
    const blocks = fences(readPage('README.md')).map(({ language, code }) => `${language}: ${code.trimEnd()}`);
    expect(blocks).toContain('sh: npm ci && npm run setup -- --yes && npm start');
    expect(blocks).toContain('sh: npm ci && npm run setup -- --yes && npm test');
  });

  it('stays short enough to be read', () => {
    expect(readPage('README.md').split('\n').length).toBeLessThanOrEqual(360);
  });

  it('lists the events that the host publishes, no row more or less', () => {
    const made = eventTable();
    expect(generatedSection('proto/modhost/event/README.md', 'events', made)).toBe(made);
  });

  it('lists the limits that a session has by default', () => {
    const made = limitTable();
    expect(generatedSection('README.md', 'limits', made)).toBe(made);
  });

  it('lists what confinement promises, and what it does not', async () => {
    const made = await containmentTable();
    expect(generatedSection('README.md', 'containment', made)).toBe(made);
  });

  it('lists the services that are not served yet', () => {
    const made = notYetServed();
    expect(generatedSection('README.md', 'not-yet-served', made)).toBe(made);
  });
});

describe('the command line in the pages', () => {
  const pages = ['README.md', 'src/README.md', 'conformance/README.md', 'conformance/modules/README.md'];
  const named = pages.flatMap((page) => commandsOf(readPage(page)));

  it('is met at all', () => expect(named.length).toBeGreaterThan(10));

  it.each([...new Set(named)])('knows: modhost %s', async (line) => {
    const words = line.split(' ').filter((word) => /^[a-z]+$/.test(word));
    const help = await helpOf(words);
    const name = /^Usage: modhost ((?:[a-z]+ ?)*)/m.exec(help)?.[1]?.trim() ?? '';
    // what follows the command's own name are its arguments
    expect(name).not.toBe('');
    expect(help).not.toContain('Commands:');
    expect(`${words.join(' ')} `).toMatch(new RegExp(`^${name} `));
    const flags = line.split(' ').filter((word) => word.startsWith('--'));
    expect(flags.filter((flag) => !help.includes(flag))).toEqual([]);
  });

  it('ends with the exit codes that the README lists', () => {
    const text = readPage('README.md').replace(/\s+/g, ' ');
    const listed = /Exit codes: 0 done, (.*?130 and 143 .*?)\./.exec(text)?.[1] ?? '';
    const numbers = [...listed.matchAll(/(?:^|, | and )(\d+)(?= )/g)].map(([, number]) => Number(number));
    expect(numbers).toEqual([...Object.values(EXIT).slice(1), 130, 143]);
  });
});

describe('the table of published events', () => {
  it('names only events and nodes that exist', () => {
    const known = new Set(readEventTypes(registry).all.map(({ name }) => name));
    expect(Object.keys(PUBLISHED_BY_HOST).filter((name) => !known.has(name))).toEqual([]);
    expect(Object.keys(TOLD_ONLY_BY).filter((name) => !(name in PUBLISHED_BY_HOST))).toEqual([]);
  });

  it('tells apart what the adapters tell', () => {
    const told = (dir: string): string[] => {
      const sources = filesBelow(dir, '.ts').map((path) => readFileSync(join(ROOT, path), 'utf8'));
      const names = sources.flatMap((text) => [...text.matchAll(/\btype: '([A-Z]\w+)'/g)].map(([, name = '']) => name));
      return [...new Set(names)].sort();
    };
    // What a devchain tells decides its column; one more here means a row less in TOLD_ONLY_BY.
    expect(told('src/node/devchain')).toEqual([
      'BlockConnected',
      'BlockDisconnected',
      'ChainReorg',
      'NewTip',
      'TemplateUpdated',
      'TransactionAdded',
      'TransactionRemoved',
    ]);
    expect(readPage('src/node/bitcoind/watched.ts')).toContain('getBans');
    expect(readPage('src/node/btcd/watched.ts')).not.toContain('getBans');
  });
});

describe('every page', () => {
  it.each(PAGES)('%s links to files that exist', (page) => {
    const links = [...prose(readPage(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
    const broken = links
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? page : normalize(join(dirname(page), path));
        if (!existsSync(join(ROOT, file))) return true;
        return anchor !== undefined && !anchorsOf(readPage(file)).includes(anchor);
      });
    expect(broken).toEqual([]);
  });

  it.each(PAGES)('%s names source files that exist', (page) => {
    const found = [...readPage(page).matchAll(/(?<![\w/.-])((?:[\w-]+\/)+[\w.-]+\.(?:ts|proto|toml|sh))\b/g)];
    const bases = [dirname(page), '.', 'src', 'test', 'conformance'];
    const missing = found
      .map(([, path = '']) => path)
      // what a reader is told to write himself, and what setup makes
      .filter((path) => !/^(?:modules\/my-watch|build|gen|vendor)\//.test(path) && !path.startsWith('etc/'))
      .filter((path) => !bases.some((base) => existsSync(join(ROOT, base, path))));
    expect(missing).toEqual([]);
  });

  it.each(PAGES)('%s names scripts of package.json that exist', (page) => {
    const { scripts } = JSON.parse(readPage('package.json')) as { scripts: Record<string, string> };
    const used = [...readPage(page).matchAll(/\bnpm (?:run (?:-s )?([\w:-]+)|(test|start)\b)/g)];
    const missing = used.map(([, run, short]) => run ?? short ?? '').filter((name) => !(name in scripts));
    expect(missing).toEqual([]);
  });
});

/** Anchors as the forges make them of headings. */
function anchorsOf(page: string): string[] {
  return [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .trim()
      .replace(/\s/g, '-'),
  );
}

/** What stands behind `modhost ` in command lines of a page, up to the first thing that is no word or flag of it. */
function commandsOf(page: string): string[] {
  const blocks = fences(page).flatMap(({ language, code }) => (language === 'sh' ? code.split('\n') : []));
  const inline = [...prose(page).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
  return [...blocks, ...inline]
    .filter((line) => line.startsWith('modhost '))
    .map((line) =>
      line
        .slice('modhost '.length)
        .replace(/\s*[#>].*$/, '')
        .trim(),
    );
}

/** The help page of a command, as the command line prints it. */
async function helpOf(words: readonly string[]): Promise<string> {
  const { terminal, out, err } = recordTerminal();
  await runProgram([...words, '--help'], {
    terminal,
    env: {},
    words: () => {
      throw new Error('help needs no words of the contract');
    },
    onSignal: () => () => {},
    exitNow: (code) => {
      throw new Error(`exit ${code}`);
    },
  });
  return out() + err();
}

function eventTable(): string {
  // topics are how modules name events of their own, not one of the 123
  const all = readEventTypes(registry).all.filter(({ name }) => name !== 'TOPIC');
  const published = all.filter(({ name }) => name in PUBLISHED_BY_HOST);
  const others = all.filter(({ name }) => !(name in PUBLISHED_BY_HOST));
  const ofModules = others.filter(({ publisher }) => publisher === 'MODULE');
  const unpublished = others.filter(({ publisher }) => publisher === 'HOST');
  const rows = published.map(({ name }) => [
    `\`${name}\``,
    PUBLISHED_BY_HOST[name] ?? '',
    ...NODE_COLUMNS.map((kind) => ((TOLD_ONLY_BY[name]?.includes(kind) ?? true) ? 'yes' : '–')),
  ]);
  const list = (facts: readonly EventFacts[]): string => facts.map(({ name }) => `\`${name}\``).join(', ');
  return [
    table(['event', 'published when, or from', ...NODE_COLUMNS], rows),
    `The other ${others.length} are in the contract and the host publishes none of them. ${unpublished.length} have no publisher yet: subscribing to\n`,
    'them is allowed and they never come.',
    ofModules.length === 0 ? '' : ` Modules may publish ${ofModules.length}: ${list(ofModules)}.`,
    '\n\n',
  ].join('');
}

function limitTable(): string {
  const calls = { ratePerSecond: DEFAULT_CALL_RATE, burst: DEFAULT_CALL_BURST, maxInFlight: DEFAULT_CALLS_IN_FLIGHT };
  const limits = sessionLimits(DEFAULT_LIMITS, calls, DEFAULT_EVENT_LIMITS);
  const n = (value: number): string => value.toLocaleString('en-US');
  const bytes = (value: number): string =>
    value >= 1024 * 1024 ? `${value / 1024 / 1024} MiB` : value >= 1024 ? `${value / 1024} KiB` : `${value} bytes`;
  return table(
    ['what', 'default', 'beyond it'],
    [
      [
        'calls',
        `weight ${n(limits.callsPerSecond)} per second, ${n(limits.callBurst)} at once, ${limits.maxCallsInFlight} in flight`,
        '`RATE_LIMITED`, `TOO_MANY_CALLS`',
      ],
      ['deadline of a call that brings none', `${limits.defaultDeadlineMs / 1_000} s`, '`DEADLINE_EXCEEDED`'],
      ['one message', bytes(limits.maxMessageBytes), '`MESSAGE_TOO_LARGE`'],
      ['connections to its socket', String(limits.maxConnections), 'closed'],
      [
        'waiting events, chain and others apart',
        `${limits.eventQueueLength} and ${bytes(limits.eventQueueBytes)} each`,
        'dropped, counted, told as a gap',
      ],
      [
        'published events',
        `${limits.publishedEventsPerSecond} per second of ${bytes(limits.maxEventBytes)}`,
        'refused',
      ],
      [
        'log',
        `${bytes(limits.logBytesPerSecond)} per second, ${bytes(limits.maxLogLineBytes)} a line`,
        'dropped and counted, cut',
      ],
      [
        'from start to Ready',
        `${limits.startTimeoutMs / 1_000} s, again with each `.concat('`Starting`'),
        '`STARTUP_TIMEOUT`',
      ],
      ['from the wish to stop to the kill', `${limits.stopTimeoutMs / 1_000} s`, 'killed'],
      ['open files of a process', String(limits.openFiles), 'EMFILE'],
      ['processes and threads', String(limits.pids), 'EAGAIN'],
      ['memory of all its processes', `${limits.memoryMb} MiB`, '`MEMORY_LIMIT`'],
      ['processor, from Ready on', `${limits.cpuPercent} % of a core`, 'slowed down'],
      ['its data directory', `${limits.dataMb} MiB`, '`DISK_LIMIT`'],
    ],
  );
}

async function containmentTable(): Promise<string> {
  const runDir = mkdtempSync(join(tmpdir(), 'mh-readme-'));
  try {
    const filter = (): Uint8Array => new Uint8Array(8);
    const shared = { runDir, filter, inherited: () => [] };
    const bubblewrap = async (ownUsers: boolean) =>
      (await createBubblewrapEngine({ ...shared, ownUsers, bwrap: '/usr/bin/bwrap' })).containment();
    const landlock = createLandlockEngine({ ...shared, ownUsers: true, python: '/usr/bin/python3', abi: SCOPE_ABI });
    const all = { memory: 'control group', cpu: 'control group', pids: 'control group', kill: 'control group' };
    const vectors = [
      claimedContainment(await bubblewrap(true), { groups: all, rlimits: true }),
      claimedContainment(await bubblewrap(false), { groups: undefined, rlimits: true }),
      claimedContainment(landlock.containment(), { groups: undefined, rlimits: true }),
    ];
    const rows = GUARANTEE_NAMES.map((name) => {
      const found = vectors.map((vector) => vector.find((promise) => promise.name === name));
      return [`\`${name}\``, ...found.map((promise) => promise?.state ?? ''), found[0]?.by ?? ''];
    });
    return table(['promise', 'host is root', 'host is a user', 'no namespaces', 'where the host is root, by'], rows);
  } finally {
    rmSync(runDir, { recursive: true, force: true });
  }
}

function notYetServed(): string {
  const services = [...readMethods(registry).values()];
  const nameOf = (path: string | undefined): string =>
    services.find((method) => method.path === path)?.service.replace(/^.*\.|Service$/g, '') ?? '';
  const names = SERVICE_ENTRIES.filter(({ served }) => !served).map(({ definition }) =>
    nameOf(Object.values(definition)[0]?.path),
  );
  return `\nIn the contract and answered with \`NOT_YET_SERVED\` for now: ${names.map((name) => `\`${name}\``).join(', ')}.\n\n`;
}
