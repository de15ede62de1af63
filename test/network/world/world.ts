import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { certificateFor } from './certificate.js';
import type { WorldCommand, WorldSpec } from './host-program.js';

/** Who the host is in its world: root, or the ordinary user 4242. */
export type WorldUser = 'root' | 'ordinary';

/** A host in a world. */
export interface WorldHost {
  load(module: string): Promise<string>;
  unload(module: string): Promise<string>;
  /** What the module's probes found: by their ids. Waits for it. */
  results(module: string): Promise<Record<string, string>>;
  lines(module: string): Promise<{ message: string; source: number }[]>;
  status(module: string): Promise<WorldStatus>;
  /** Process id of the host. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** What a status says of a module's network. */
export interface WorldStatus {
  state: string;
  by: string;
  network:
    | { grants: string[]; open: number; opened: number; refused: number; sentBytes: number; receivedBytes: number }
    | undefined;
  error: string | undefined;
}

/** A machine of the test's own, in which a host runs, and a network around it with servers at every address. */
export interface World {
  /** Certificate of `pool.example`, PEM. */
  readonly certificate: string;
  host(spec: Pick<WorldSpec, 'modules' | 'options'>): Promise<WorldHost>;
  /** Connection attempts and datagrams that have left the host's machine, like `tcp 198.51.100.7:3333`, each once. */
  left(): string[];
  forget(): void;
  /** What the world's proxy was asked for. */
  readonly proxied: { host: string; port: number; user: string }[];
  /** Connects from the outside, from this address and port, and gives what was answered. */
  call(call: {
    transport: 'tcp' | 'udp';
    host: string;
    port: number;
    from: string;
    port_from: number;
  }): Promise<string>;
  dispose(): Promise<void>;
}

/** Paths of the sockets of the host's machine that modules try to reach. */
export const ABSTRACT_SOCKET = '\0modhost-world-abstract';
/** TCP port on the loopback of the host's machine. */
export const LOOPBACK_PORT = 7777;

const here = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url));
const TSX = new URL('../../../node_modules/tsx/dist/loader.mjs', import.meta.url).href;
const ORDINARY = '4242';

/** Makes a world; whoever runs the test needs root, or user namespaces. */
export async function createWorld(user: WorldUser): Promise<World> {
  const isRoot = process.getuid?.() === 0;
  const dir = mkdtempSync(join(tmpdir(), 'mh-world-'));
  chmodSync(dir, 0o755);
  const { certificate, key } = certificateFor('pool.example');
  writeFileSync(
    join(dir, 'hosts'),
    '127.0.0.1 localhost\n::1 localhost\n198.51.100.7 pool.example\n203.0.113.9 other.example\n',
  );
  writeFileSync(join(dir, 'resolv.conf'), 'nameserver 198.51.100.53\noptions timeout:1 attempts:1\n');
  writeFileSync(join(dir, 'cert.pem'), certificate);
  writeFileSync(join(dir, 'key.pem'), key);
  const own = isRoot ? [] : ['--user', '--map-root-user'];
  const machine = spawn('unshare', [...own, '--net', '--mount', 'sh', here('setup.sh')], {
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      WORLD_DIR: dir,
      WORLD_OUTER: here('outer.py'),
      WORLD_CERT: join(dir, 'cert.pem'),
      WORLD_KEY: join(dir, 'key.pem'),
    },
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const packets = new Set<string>();
  const proxied: World['proxied'] = [];
  const calls = new Map<number, (answer: string) => void>();
  let calling = 0;
  const hostPid = await new Promise<number>((resolve, reject) => {
    let pid = 0;
    machine.once('exit', (code) => reject(new Error(`the world did not come up: ${code}`)));
    createInterface({ input: machine.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const first = /^host ([0-9]+)$/.exec(line)?.[1];
      if (first !== undefined) {
        pid = Number(first);
        return;
      }
      const said = JSON.parse(line) as { kind: string; what: string; id: number; answer: string } & World['proxied'][0];
      if (said.kind === 'ready') resolve(pid);
      else if (said.kind === 'packet') packets.add(said.what);
      else if (said.kind === 'proxied') proxied.push({ host: said.host, port: said.port, user: said.user });
      else calls.get(said.id)?.(said.answer);
    });
  });
  const enter = ['nsenter', ...(isRoot ? [] : ['--preserve-credentials', `--user=/proc/${hostPid}/ns/user`])];
  enter.push(`--net=/proc/${hostPid}/ns/net`, `--mount=/proc/${hostPid}/ns/mnt`);
  const become =
    user === 'ordinary' && isRoot ? ['setpriv', '--reuid', ORDINARY, '--regid', ORDINARY, '--clear-groups', '--'] : [];
  const hosts: ChildProcess[] = [];
  return {
    certificate,
    proxied,
    left: () => [...packets].sort(),
    forget: () => packets.clear(),
    call: (what) =>
      new Promise((resolve) => {
        const id = ++calling;
        calls.set(id, resolve);
        machine.stdin?.write(`${JSON.stringify({ id, ...what })}\n`);
      }),
    async host(spec) {
      const [file = '', ...args] = [...enter, ...become, process.execPath, '--import', TSX, here('host-program.ts')];
      const child = spawn(file, args, {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: dir, TSX_DISABLE_CACHE: '1' },
      });
      hosts.push(child);
      return talkTo(child, {
        ...spec,
        sockets: [ABSTRACT_SOCKET],
        loopbackPort: LOOPBACK_PORT,
      });
    },
    async dispose() {
      for (const child of hosts) if (child.exitCode === null) child.kill('SIGKILL');
      const gone = new Promise((resolve) => machine.once('exit', resolve));
      try {
        if (machine.pid !== undefined) process.kill(-machine.pid, 'SIGKILL');
        await gone;
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    },
  };
}

async function talkTo(child: ChildProcess, spec: WorldSpec): Promise<WorldHost> {
  const answers = new Map<number, (answer: never) => void>();
  let next = 0;
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    const { id, answer } = JSON.parse(line) as { id: number; answer: never };
    answers.get(id)?.(answer);
  });
  const ended = new Promise<never>((_, reject) => {
    child.once('exit', (code, signal) => reject(new Error(`the host ended: ${code ?? signal}`)));
  });
  ended.catch(() => undefined);
  const ready = new Promise<string>((resolve) => answers.set(0, resolve as (answer: never) => void));
  const ask = <T>(what: WorldCommand['ask'], module = ''): Promise<T> => {
    const id = ++next;
    const answer = new Promise<T>((resolve) => answers.set(id, resolve as (answer: never) => void));
    child.stdin?.write(`${JSON.stringify({ id, ask: what, module } satisfies WorldCommand)}\n`);
    return Promise.race([answer, ended]);
  };
  child.stdin?.write(`${JSON.stringify(spec)}\n`);
  const said = await Promise.race([ready, ended]);
  if (said !== 'ready') throw new Error(said);
  const lines: WorldHost['lines'] = (module) => ask('lines', module);
  return {
    pid: child.pid ?? 0,
    lines,
    load: (module) => ask('load', module),
    unload: (module) => ask('unload', module),
    status: (module) => ask('status', module),
    async results(module) {
      for (;;) {
        const line = (await lines(module)).findLast(({ message }) => message.startsWith('RESULT '));
        if (line !== undefined) return JSON.parse(line.message.slice('RESULT '.length));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async stop() {
      const over = new Promise((resolve) => child.once('exit', resolve));
      await ask('stop');
      await over;
    },
  };
}
