import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModuleIdentity, SandboxEngine } from './engine.js';
import type { GuaranteeName } from './guarantee.js';
import { DEFAULT_LIMITS } from './limits.js';
import type { RunOnce } from './probe.js';

/**
 * Does what a module must not be able to do, and prints one line `PROMISE held` or `PROMISE broken` each. It is plain
 * POSIX shell, so that it runs wherever a sandbox does. Arguments: path of a planted secret, the host's network and
 * process namespaces, limit of open files, limit of processes (empty = not bounded).
 */
const SCRIPT = `
say() { if [ "$2" = 0 ]; then echo "$1 held"; else echo "$1 broken"; fi; }
bad=0
cat "$1" >/dev/null 2>&1 && bad=1
for dir in / /usr /etc /module /run/host; do ( : > "$dir/canary" ) 2>/dev/null && bad=1; done
( : > /data/canary ) 2>/dev/null || bad=1
say filesystem $bad
bad=0
[ "$(readlink /proc/self/ns/net)" = "$2" ] && bad=1
[ "$(grep -c : /proc/net/dev)" = 1 ] || bad=1
say network $bad
bad=0
[ "$(readlink /proc/self/ns/pid)" = "$3" ] && bad=1
[ "$(ls -d /proc/[0-9]* | wc -l)" -lt 12 ] || bad=1
say processes $bad
bad=0
grep -q '^NoNewPrivs:[^0-9]*1$' /proc/self/status || bad=1
grep -q '^CapEff:[^0-9]*0*$' /proc/self/status || bad=1
unshare --user true 2>/dev/null && bad=1
say privileges $bad
bad=0
grep -q "^Max open files  *$4  *$4 " /proc/self/limits || bad=1
say open_files $bad
if [ -n "$5" ]; then
  bad=0
  grep -q "^Max processes  *$5  *$5 " /proc/self/limits || bad=1
  say pids $bad
fi
`;

/**
 * Runs the canary through an engine as a module would run, and tells which promises held. What the answer does not
 * name was not tried; a canary that does not run answers with its last words.
 *
 * @param runDir directory of the host in which the canary's own directories are made and removed
 */
export async function tryContainment(
  engine: SandboxEngine,
  run: RunOnce,
  runDir: string,
  identity: ModuleIdentity | undefined,
): Promise<{ readonly tried: ReadonlyMap<GuaranteeName, boolean> } | { readonly failure: string }> {
  const root = await mkdtemp(join(await realpath(runDir), 'canary-'));
  try {
    const directories = { code: join(root, 'code'), data: join(root, 'data'), socket: join(root, 'socket') };
    await chmod(root, 0o711);
    for (const dir of Object.values(directories)) await mkdir(dir, { mode: 0o755 });
    await writeFile(join(directories.code, 'canary.sh'), SCRIPT, { mode: 0o444 });
    const secret = join(root, 'secret');
    // Readable to all, so that only the sandbox hides it.
    await writeFile(secret, randomBytes(16).toString('hex'), { mode: 0o444 });
    if (identity !== undefined)
      for (const dir of [directories.data, directories.socket]) await chown(dir, identity.uid, identity.gid);
    const { openFiles, pids } = DEFAULT_LIMITS;
    const command = await engine.prepare({
      name: 'canary',
      directories,
      program: { from: 'host', path: '/bin/sh' },
      args: [
        join(engine.view(directories).code, 'canary.sh'),
        secret,
        readlinkSync('/proc/self/ns/net'),
        readlinkSync('/proc/self/ns/pid'),
        String(openFiles),
        identity === undefined ? '' : String(pids + 2),
      ],
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      limits: DEFAULT_LIMITS,
      identity,
      extraReadOnly: [],
      joinFiles: [],
      network: undefined,
    });
    const answer = await run(command);
    if (answer.code !== 0)
      return { failure: answer.stderr.trim().split('\n')[0] || `the canary ended with ${answer.code}` };
    const tried = parseAnswer(answer.stdout);
    if (identity !== undefined) {
      const written = await stat(join(directories.data, 'canary')).catch(() => undefined);
      tried.set('user', written?.uid === identity.uid);
    }
    return { tried };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

function parseAnswer(stdout: string): Map<GuaranteeName, boolean> {
  const tried = new Map<GuaranteeName, boolean>();
  for (const name of ['filesystem', 'network', 'processes', 'privileges', 'open_files', 'pids'] as const) {
    if (stdout.includes(`${name} held\n`)) tried.set(name, true);
    else if (stdout.includes(`${name} broken\n`)) tried.set(name, false);
  }
  return tried;
}
