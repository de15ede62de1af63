import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { createSpawnedHost, type SpawnedHost, type SpawnedModule, STATES, until } from './spawned-host.js';

const SCRIPT = readFileSync(new URL('./modules/obedient.py', import.meta.url), 'utf8');

/** Health checks that find a hung module within two seconds. */
export const QUICK_HEALTH = 'health = { interval_ms = 200, timeout_ms = 500 }\n';

/** A module of `modules/obedient.py`; `manifest` may end with tables. */
export function obedient(manifest = '', env: Readonly<Record<string, string>> = {}): SpawnedModule {
  return { python: SCRIPT, manifest: `${QUICK_HEALTH}${manifest}`, env };
}

/** A host whose modules do what they are told. */
export interface ObedientHost extends SpawnedHost {
  /** Has the module carry out these lines now. */
  order(module: string, ...lines: string[]): void;
  /** What it does before its handshake, from its next start on; nothing: it starts well. */
  atStart(module: string, ...lines: string[]): void;
  status(module: string): ModuleStatus;
  state(module: string): string;
  /** Waits until the module is in one of these states. */
  reaches(module: string, ...states: string[]): Promise<void>;
}

/** Makes such a host. */
export async function createObedientHost(
  modules: Readonly<Record<string, SpawnedModule>>,
  more: Parameters<typeof createSpawnedHost>[1] = {},
): Promise<ObedientHost> {
  const rig = await createSpawnedHost(modules, more);
  const put = (module: string, file: string, lines: readonly string[]): void => {
    const dir = join(rig.dir, 'd', 'modules', module);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (lines.length === 0) {
      rmSync(join(dir, file), { force: true });
      return;
    }
    // the module may look at any moment: it finds all of it or nothing
    writeFileSync(join(rig.dir, `${module}.${file}`), `${lines.join('\n')}\n`, { mode: 0o644 });
    renameSync(join(rig.dir, `${module}.${file}`), join(dir, file));
  };
  const status = (module: string): ModuleStatus => {
    const found = rig.host.list().find(({ name }) => name === module);
    if (found === undefined) throw new Error(`no module ${module}`);
    return found;
  };
  const state = (module: string): string => String(STATES[status(module).state]);
  return {
    ...rig,
    order: (module, ...lines) => put(module, 'command', lines),
    atStart: (module, ...lines) => put(module, 'at-start', lines),
    status,
    state,
    async reaches(module, ...states) {
      await until(`${module} to be ${states.join(' or ')}`, () => states.includes(state(module))).catch((error) => {
        const { reason } = status(module);
        throw new Error(`${String(error)}; it is ${state(module)} (${reason})`);
      });
    },
  };
}

/** Processes on this machine with a variable of this value in their environment: those of one test, wherever they have gone. */
export function processesWith(variable: string, value: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${variable}=${value}`);
      } catch {
        // it has ended, or belongs to somebody else
        return false;
      }
    })
    .map(Number);
}

/** True when a directory holds anything. */
export function holdsAnything(dir: string): boolean {
  return existsSync(dir) && readdirSync(dir).length > 0;
}
