import fc from 'fast-check';
import { expect } from 'vitest';
import { type ObedientHost, processesWith } from './obedient.js';
import { reason, STATES, until } from './spawned-host.js';

/** Variable of each module's environment by which its processes are found, wherever they have gone. */
export const MARKER = 'MODEL_MARKER';

/** What the model knows of one module: where it stands when nothing is under way. */
export interface Model {
  policy: 'on-failure' | 'always' | 'never';
  maxCrashes: number;
  state: 'STOPPED' | 'RUNNING' | 'QUARANTINED' | 'FAILED';
  /** Crashes that count towards the quarantine. */
  crashes: number;
  /** True when its program fails before its handshake. */
  failsAtStart: boolean;
  /** True when enough has happened. */
  over(): boolean;
}

/** One module of a real host. */
export interface Real {
  rig: ObedientHost;
  name: string;
  marker: string;
  /** Events and steps of the module since they were asked for last, changes between RUNNING and DEGRADED left out. */
  news(): string[];
  /** Ends of spawns so far, all modules together. */
  cycles: { count: number };
}

/** Reads what the host tells, module by module, each event once. */
export function createNews(rig: ObedientHost): (name: string) => string[] {
  const waiting = new Map<string, string[]>();
  const states = new Map<string, string>();
  let read = 0;
  return (name) => {
    for (const { event } of rig.heard.slice(read)) {
      const { payload } = event;
      const value = payload?.value as { moduleName?: string; newState?: number } | undefined;
      const module = value?.moduleName ?? '';
      let text = payload?.$case.replace(/^module/, '') ?? '';
      if (text === 'HealthChanged' || text === 'Discovered' || module === '') continue;
      if (text === 'StateChanged') {
        text = String(STATES[value?.newState ?? 0]);
        // a check that a busy machine answers late is no step of the model
        const isFlap = text === 'DEGRADED' || (text === 'RUNNING' && states.get(module) === 'DEGRADED');
        states.set(module, text);
        if (isFlap) continue;
      }
      waiting.set(module, [...(waiting.get(module) ?? []), text]);
    }
    read = rig.heard.length;
    const news = waiting.get(name) ?? [];
    waiting.delete(name);
    return news;
  };
}

const START = ['VERIFIED', 'STARTING', 'Started'];
const UP = [...START, 'RUNNING', 'Loaded'];

/** Moves the model to where starting leads, and tells what is to be heard on the way. */
function startOf(m: Model): string[] {
  if (!m.failsAtStart) {
    m.state = 'RUNNING';
    return UP;
  }
  m.crashes += 1;
  return [...START, 'CRASHED', 'Crashed', ...afterCrash(m, 'FAILED')];
}

/** What follows a crash that has been counted. */
function afterCrash(m: Model, stays: 'STOPPED' | 'FAILED'): string[] {
  if (m.policy === 'never') m.state = stays;
  else if (m.crashes >= m.maxCrashes) m.state = 'QUARANTINED';
  else return ['BACKOFF', ...startOf(m)];
  return [m.state];
}

/** A spawn that is Ready ends in failure. */
function crash(m: Model): string[] {
  m.crashes += 1;
  return ['CRASHED', 'Crashed', 'Unloaded', ...afterCrash(m, 'STOPPED')];
}

/** A spawn that is Ready ends with code 0. */
function quietEnd(m: Model): string[] {
  const end = ['Stopped', 'Unloaded'];
  if (m.policy !== 'always') {
    m.state = 'STOPPED';
    return [...end, 'STOPPED'];
  }
  m.crashes += 1;
  return [...end, ...afterCrash(m, 'STOPPED')];
}

function stop(m: Model): string[] {
  const before = m.state;
  m.state = 'STOPPED';
  if (before === 'RUNNING') return ['STOPPING', 'Stopped', 'Unloaded', 'STOPPED'];
  return before === 'STOPPED' ? [] : ['STOPPED'];
}

/** Waits until the host is where the model is, and compares the way. */
async function settle(m: Model, r: Real, expected: readonly string[], what: string): Promise<void> {
  const heard: string[] = [];
  const arrived = (): boolean => {
    heard.push(...r.news());
    return heard.length >= expected.length && isAt(m, r);
  };
  await until(`${r.name}: ${what}`, arrived, 30_000).catch((error: unknown) => {
    const { reason: why } = r.rig.status(r.name);
    throw new Error(`${String(error)}; it is ${r.rig.state(r.name)} (${why}), heard ${heard.join(' ')}`);
  });
  expect([r.name, what, ...heard]).toEqual([r.name, what, ...expected]);
  r.cycles.count += heard.filter((text) => text === 'Crashed' || text === 'Stopped').length;
  expect(r.rig.status(r.name).recentCrashes).toBe(m.crashes);
  if (m.state !== 'RUNNING') expect(processesWith(MARKER, r.marker)).toEqual([]);
}

function isAt(m: Model, r: Real): boolean {
  const state = r.rig.state(r.name);
  return state === m.state || (m.state === 'RUNNING' && state === 'DEGRADED');
}

type Command = fc.AsyncCommand<Model, Real>;

/** A command of one word, run where `when` allows. */
function command(what: string, when: (m: Model) => boolean, run: (m: Model, r: Real) => Promise<void>): Command {
  return { check: (m) => !m.over() && when(m), run, toString: () => what };
}

const isRunning = (m: Model): boolean => m.state === 'RUNNING';

/** The module is told to end in some way. */
function order(lines: readonly string[], end: (m: Model) => string[]): Command {
  return command(lines.join(' + '), isRunning, async (m, r) => {
    r.rig.order(r.name, ...lines);
    await settle(m, r, end(m), lines.join(' + '));
  });
}

/** A crash, and in the wait that follows a command; both outcomes of their race are right, and lead to one state. */
async function crashSeen(m: Model, r: Real): Promise<void> {
  const before = r.rig.status(r.name).instanceId;
  r.rig.order(r.name, 'exit 6');
  await until(`${r.name}: its crash`, () => r.rig.status(r.name).instanceId !== before, 30_000);
  r.cycles.count += 1;
  m.crashes += 1;
}

const load = command(
  'load',
  () => true,
  async (m, r) => {
    const answer = await reason(r.rig.host.load(r.name));
    if (m.state === 'RUNNING') {
      expect(answer).toBe('MODULE_ALREADY_LOADED');
      return settle(m, r, [], 'load');
    }
    expect(answer).toBe(m.failsAtStart ? 'MODULE_CRASHED' : 'OK');
    m.crashes = 0;
    await settle(m, r, startOf(m), 'load');
  },
);

const unload = (what: string, before: readonly string[]): Command =>
  command(
    what,
    (m) => before.length === 0 || isRunning(m),
    async (m, r) => {
      if (before.length > 0) {
        r.rig.order(r.name, ...before);
        // it has read its order when it looks for the next one
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      await r.rig.host.unload(r.name);
      await settle(m, r, stop(m), what);
    },
  );

const reload = command(
  'reload',
  () => true,
  async (m, r) => {
    await reason(r.rig.host.reload(r.name));
    const stopped = stop(m);
    m.crashes = 0;
    const started = startOf(m);
    // the reload is told when its own start has ended, well or not
    const own = m.failsAtStart || started !== UP ? started.indexOf('Crashed') + 2 : started.length;
    await settle(m, r, [...stopped, ...started.slice(0, own), 'Reloaded', ...started.slice(own)], 'reload');
  },
);

const failAtStart = (fails: boolean): Command =>
  command(
    fails ? 'fails at start from now on' : 'starts well from now on',
    (m) => m.failsAtStart !== fails,
    async (m, r) => {
      r.rig.atStart(r.name, ...(fails ? ['exit 7'] : []));
      m.failsAtStart = fails;
    },
  );

const killed = command('SIGKILL from outside', isRunning, async (m, r) => {
  process.kill(r.rig.status(r.name).pid, 'SIGKILL');
  await settle(m, r, crash(m), 'SIGKILL from outside');
});

const crashThenUnload = command('crash, unload at once', isRunning, async (m, r) => {
  await crashSeen(m, r);
  await r.rig.host.unload(r.name);
  m.state = 'STOPPED';
  await until(`${r.name}: stopped`, () => isAt(m, r), 30_000);
  const news = r.news();
  expect(news.filter((text) => text === 'Crashed').length).toBeGreaterThan(0);
  m.crashes = r.rig.status(r.name).recentCrashes;
  expect(processesWith(MARKER, r.marker)).toEqual([]);
});

const crashThenLoad = command(
  'crash, load at once',
  (m) => isRunning(m) && !m.failsAtStart,
  async (m, r) => {
    await crashSeen(m, r);
    const answer = await reason(r.rig.host.load(r.name));
    // the restart may have been quicker
    expect(['OK', 'MODULE_ALREADY_LOADED']).toContain(answer);
    if (answer === 'OK') m.crashes = 0;
    m.state = 'RUNNING';
    await until(`${r.name}: running`, () => isAt(m, r), 30_000);
    const news = r.news();
    expect(news.filter((text) => text === 'Crashed')).toHaveLength(1);
    expect(news.at(-1)).toBe('Loaded');
    expect(r.rig.status(r.name).recentCrashes).toBe(m.crashes);
  },
);

/** Everything that may happen to a module, the quick things more often. */
export const COMMANDS: fc.Arbitrary<Command>[] = [
  ...['exit 3', 'exit 255', 'signal SIGSEGV', 'signal SIGABRT', 'signal SIGKILL', 'signal SIGTERM'].map((line) =>
    fc.constant(order([line], crash)),
  ),
  fc.constant(order(['brood', 'exit 3'], crash)),
  fc.constant(order(['daemon 5'], crash)),
  fc.constant(order(['daemon 0'], quietEnd)),
  fc.constant(order(['exit 0'], quietEnd)),
  fc.constant(order(['brood', 'exit 0'], quietEnd)),
  fc.constantFrom(...['stop', 'deaf', 'spin'].map((line) => order([line], crash))),
  fc.constant(killed),
  fc.constantFrom(load, unload('unload', []), unload('unload of one that ignores SIGTERM', ['brood', 'stubborn'])),
  fc.constant(load),
  fc.constantFrom(reload, load),
  fc.constantFrom(failAtStart(true), failAtStart(false), failAtStart(false)),
  fc.constant(crashThenUnload),
  fc.constant(crashThenLoad),
];
