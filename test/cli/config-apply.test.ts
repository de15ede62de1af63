import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseManifest } from '../../src/manifest/parse.js';
import { bundleModule } from '../host/bundle-module.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { createAsker, createPlace, type Started, writeConfig } from './command-line.js';

const { skip } = await sandboxToolchain();

/** Planted values; no output of host or command line may hold one of them, or half of one. */
const PLANTED = [
  'correct horse battery staple',
  'kept-in-the-environment-4711',
  'written-plainly-0815',
  'second-secret-of-all',
];
const HALVES = PLANTED.flatMap((secret) => [secret, secret.slice(0, 12), secret.slice(-12)]);

/** Rest between two looks at all processes, milliseconds. */
const LOOK_EVERY_MS = 50;

const place = createPlace();
const watch = watchProcesses();
const ask = createAsker(place);
let host: Started;
let seen = '';

/** One command line; what it said is remembered. */
const modhost = async (...words: string[]) => {
  const answer = await ask(...words);
  seen += answer.out + answer.err;
  return answer;
};
const config = (table: string): void => {
  writeConfig(
    place,
    `[log]
level = "trace"
format = "json"
[sandbox]
minimum = "none"
[modules.neighbour]
unsigned = true
[modules.leaker]
unsigned = true
${table}
[modules.leaker.secrets]
password = { file = "password.txt" }
token = { env = "LEAKER_TOKEN" }
`,
  );
};
const secret = (text: string): void => {
  writeFileSync(join(place.dir, 'password.txt'), text);
  chmodSync(join(place.dir, 'password.txt'), 0o600);
};

describe.skipIf(skip)('the configuration of a module by command', () => {
  beforeAll(async () => {
    vi.stubEnv('MODHOST_CONFIG', join(place.dir, 'modhost.toml'));
    chmodSync(place.dir, 0o711);
    place.env({ LEAKER_TOKEN: PLANTED[1] ?? '' });
    secret(`${PLANTED[0]}\n`);
    const dir = join(place.dir, 'm', 'leaker');
    mkdirSync(dir, { recursive: true });
    await bundleModule(new URL('../host/modules/leaker.ts', import.meta.url), join(dir, 'main.mjs'));
    place.write(
      'm/leaker/module.toml',
      `name = "leaker"
version = "1.0.0"
capabilities = ["read_blockchain"]
[run]
command = ["node", "/module/main.mjs"]
[config]
label = { type = "string", default = "none" }
depth = { type = "integer", min = 1, max = 10, default = 1 }
password = { type = "string", secret = true, required = true }
token = { type = "string", secret = true }
plain = { type = "string", secret = true }
`,
    );
    const beside = join(place.dir, 'm', 'neighbour');
    mkdirSync(beside, { recursive: true });
    copyFileSync(new URL('../host/modules/main.mjs', import.meta.url), join(beside, 'main.mjs'));
    place.write(
      'm/neighbour/module.toml',
      'name = "neighbour"\nversion = "1.0.0"\n[run]\ncommand = ["node", "/module/main.mjs"]\nenv = { BEHAVIOUR = "handshake ready" }\n',
    );
    config(`config = { plain = "${PLANTED[2]}" }`);
    host = place.start('run');
    await host.until(/"msg":"loaded"[\s\S]*"msg":"loaded"/);
  });
  afterAll(async () => {
    watch.stop();
    vi.unstubAllEnvs();
    await place.dispose();
  });

  it('checks the file with the manifests of its modules, and says all that is wrong', async () => {
    const good = await modhost('config', 'check');
    expect(good.code).toBe(0);
    // the variable is the host's, and not of this command
    expect(good.err).toContain('LEAKER_TOKEN');
    expect(good.err).toContain('modules.leaker.config.plain is a secret');
    const bad = place.write(
      'bad.toml',
      '[paths]\nmodules = "m"\n[modules.leaker]\nconfig = { deepth = 3, password = "x" }\n[modules.nobody]\nenabled = false\n',
    );
    const { code, out, err } = await modhost('config', 'check', bad, '--json');
    expect(code).toBe(2);
    expect(err).toBe('');
    const facts = JSON.parse(out) as { ok: boolean; problems: { reason: string; message: string }[]; hints: string[] };
    expect(facts.ok).toBe(false);
    expect(facts.problems.map(({ reason }) => reason)).toEqual(['UNKNOWN_FIELD']);
    expect(facts.problems[0]?.message).toContain("did you mean 'depth'");
    expect(facts.hints.some((hint) => hint.startsWith('nobody:'))).toBe(true);
  });

  it('applies what has changed, tells what was refused, and what waits for the host', async () => {
    expect((await modhost('config', 'apply')).out).toContain('no table of a module has changed');
    config(`config = { plain = "${PLANTED[2]}", depth = 4 }\nlimits = { memory_mb = 300 }`);
    writeFileSync(
      join(place.dir, 'modhost.toml'),
      `${readFileSync(join(place.dir, 'modhost.toml'), 'utf8')}[calls]\nper_second = 7\n`,
    );
    const answer = await modhost('config', 'apply', '--json');
    expect(answer.code).toBe(0);
    expect(JSON.parse(answer.out)).toEqual({
      changes: [
        { module: 'leaker', outcome: 'APPLIED', changed_keys: ['config.depth'] },
        { module: 'leaker', outcome: 'AT_NEXT_START', changed_keys: ['limits.memory_mb'] },
      ],
      needs_restart: ['calls.per_second'],
    });
    secret(`${PLANTED[3]}\n`);
    config(`config = { plain = "${PLANTED[2]}", label = "refuse" }`);
    const refused = await modhost('config', 'apply');
    expect(refused.code).toBe(1);
    expect(refused.out).toContain('REFUSED');
    expect(refused.err).toContain('leaker refused it: no: ');
    writeFileSync(join(place.dir, 'modhost.toml'), '[modules.leaker\n');
    expect((await modhost('config', 'apply')).code).not.toBe(0);
    config(`config = { plain = "${PLANTED[2]}", depth = 11 }`);
    const schema = await modhost('config', 'apply');
    expect(schema.code).toBe(1);
    expect(schema.err).toContain('above its maximum');
  });

  it('observes what it uses, and writes the manifest that suffices', async () => {
    const file = join(place.dir, 'observed.toml');
    const { code, out, err } = await modhost('observe', 'leaker', '--for', '2s', '--write', file);
    expect(err).toContain('watching for 2 s');
    expect(code).toBe(0);
    expect(out).toContain('unused:  read_blockchain');
    expect(out).toContain('A path that was not taken was not seen');
    const manifest = parseManifest(readFileSync(file));
    expect(manifest.capabilities).toEqual([]);
    expect([...manifest.config.keys()]).toContain('password');
    // never over a file
    expect((await modhost('observe', 'leaker', '--for', '1s', '--write', file)).code).toBe(2);
    const json = JSON.parse((await modhost('observe', 'leaker', '--for', '1s', '--json')).out) as { unused: string[] };
    expect(json.unused).toEqual(['READ_BLOCKCHAIN']);
    // it ran before, so it runs on
    expect((await modhost('list')).out).toContain('leaker');
  });

  it('C157: a planted secret is in no environment and no command line: not of its module, another one, the sandbox, the host', async () => {
    // a module that starts anew goes through all that a start goes through
    expect((await modhost('reload', 'leaker')).code).toBe(0);
    const below = descendants(processes(), host.pid);
    const isRoot = process.getuid?.() === 0;
    for (const module of ['leaker', 'neighbour']) {
      const own = below.filter(({ environment }) => environment.includes(`MODHOST_MODULE_ID=${module}`));
      // an ordinary user may not look into a sandbox
      if (isRoot) expect(own.length, `no process of ${module} was found`).toBeGreaterThan(0);
    }
    expect(below.length).toBeGreaterThanOrEqual(2);
    watch.stop();
    for (const { pid, commandLine, environment } of watch.seen.values()) {
      // that one the operator has put into the environment of the host by himself, and it goes no further
      const given = pid === host.pid || isLoader(commandLine) ? `LEAKER_TOKEN=${PLANTED[1]}` : '';
      const shown = `${commandLine}\0${environment}\0`.replace(`${given}\0`, '');
      for (const half of HALVES)
        expect(shown.includes(half), `process ${pid} ${commandLine} shows a secret`).toBe(false);
    }
    expect([...watch.seen.values()].filter(({ pid }) => pid === host.pid)).not.toEqual([]);
  });

  it('C157: a planted secret is in no log, status, answer, audit, diagnosis or file', async () => {
    config(`config = { plain = "${PLANTED[2]}", label = "crash" }`);
    expect((await modhost('config', 'apply')).code).toBe(0);
    await host.until('exited with code 3');
    for (const words of [
      ['status'],
      ['status', '--json'],
      ['list', '--json'],
      ['audit'],
      ['audit', '--json'],
      ['stats', '--json'],
    ]) {
      await modhost(...words);
    }
    await modhost('logs', '--level', 'trace', '-n', '5000', '--json');
    // it has said all that, with the secrets taken out
    expect(seen).toContain('[secret]');
    for (const words of ['stdout', 'stderr', 'log', 'offered', 'last words'])
      expect(host.out()).toContain(`${words} {`);
    host.kill('SIGTERM');
    const { out, err } = await host.ended;
    for (const [what, text] of Object.entries({ commands: seen, host: out + err, ...filesOf(place.dir) })) {
      for (const half of HALVES) expect(text.includes(half), `${what} holds a secret`).toBe(false);
    }
  });
});

/** Text of every file below a directory but those that the operator and the author wrote. */
function filesOf(dir: string): Record<string, string> {
  const given = ['modhost.toml', 'password.txt'];
  return Object.fromEntries(
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !given.includes(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path, readFileSync(path, 'latin1')] as const),
  );
}

/** What the system tells of a process to its owner and to root; the command line to everybody. */
interface Shown {
  readonly pid: number;
  readonly parent: number;
  readonly commandLine: string;
  readonly environment: string;
}

/** True for the compiler of the loader by which the tests run the host from its sources: no part of the host. */
const isLoader = (commandLine: string): boolean => commandLine.includes('/esbuild');

/** All processes that there are now, as far as this user may look. */
function processes(): Shown[] {
  const read = (pid: string, file: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1');
    } catch {
      return '';
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map((pid) => ({
      pid: Number(pid),
      // behind the name, which may hold anything
      parent: Number(read(pid, 'stat').replace(/^.*\) \S+ (\d+) .*$/s, '$1')),
      commandLine: read(pid, 'cmdline'),
      environment: read(pid, 'environ'),
    }));
}

/** Those of them that a process has started, and what those have started. */
function descendants(all: readonly Shown[], pid: number): Shown[] {
  const own = all.filter(({ parent }) => parent === pid);
  return own.flatMap((one) => [one, ...descendants(all, one.pid)]);
}

/** Looks at every process again and again, so that one that lives for a moment is seen too. */
function watchProcesses(): { seen: Map<string, Shown>; stop(): void } {
  const seen = new Map<string, Shown>();
  const look = (): void => {
    for (const one of processes()) seen.set(`${one.pid} ${one.commandLine} ${one.environment.length}`, one);
  };
  const timer = setInterval(look, LOOK_EVERY_MS);
  return { seen, stop: () => clearInterval(timer) };
}
