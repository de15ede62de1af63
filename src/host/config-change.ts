import { type ApplyConfigResponse, type ConfigChange, ConfigOutcome } from '../../gen/ts/modhost/admin/v1/config.js';
import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';
import { HostError, throwIfAborted } from '../contract/error.js';
import { differingPaths } from '../core/differing-paths.js';
import { printableLine } from '../core/printable.js';
import type { Audit } from './audit.js';
import { type ConfigAnswer, handOver } from './config-hand-over.js';
import { moduleDir, readModule } from './discover.js';
import type { Lifecycle } from './lifecycle.js';
import { composeModuleConfig } from './module-config.js';
import type { ModuleSettings } from './options.js';
import type { HostParts } from './parts.js';
import { inTurn, isUp, type Running, type Slot } from './slot.js';
import { grantedOf } from './start-module.js';

/** Longest message of a refusal, characters. */
const MAX_MESSAGE_CHARS = 512;
/** Steps of a changed key's path: the module's own keys are one below `config`. */
const PATH_STEPS = 2;
const { APPLIED, AT_NEXT_START, REFUSED } = ConfigOutcome;

/** What changing the configuration of modules needs of a host. */
export interface ConfigChangeParts
  extends Pick<HostParts, 'options' | 'settings' | 'clock' | 'log' | 'lifecycleEvents'> {
  readonly audit: Pick<Audit, 'record'>;
  readonly lifecycle: Pick<Lifecycle, 'slot'>;
}

/** Changes what the operator says of modules while they run. */
export interface ConfigChangeControl {
  /** Reads the operator's file anew and hands over what has changed. @throws HostError BAD_CONFIG, INVALID_REQUEST */
  apply(signal: AbortSignal): Promise<ApplyConfigResponse>;
  /** Replaces what is said of one module; gives what became of it, nothing when nothing has changed. */
  configure(name: string, settings: ModuleSettings): Promise<ConfigChange[]>;
}

/**
 * Makes it. Each module's change waits for the commands on it that came before, and several modules change at the same time.
 *
 * `config` and `secrets` are the module's to take or refuse, as one; what it refuses is not in force, at its next start neither,
 * until the operator applies something that passes or the host starts again. About all the rest it is not asked: permissions
 * that are taken back are gone at once, everything else comes with its next start. So a module that refuses its configuration
 * cannot keep a permission or a limit by that.
 */
export function createConfigChange(parts: ConfigChangeParts): ConfigChangeControl {
  const { settings, lifecycle, log } = parts;
  const env = parts.options.env ?? process.env;
  let last: Promise<unknown> = Promise.resolve();

  const change = async (name: string, next: ModuleSettings | undefined): Promise<ConfigChange[]> => {
    const slot = lifecycle.slot(name);
    const [before, after] = [settings.of(name), next ?? {}];
    const paths = differingPaths(tableOf(before), tableOf(after), PATH_STEPS);
    const isOwn = (path: string): boolean => /^(?:config|secrets)(?:\.|$)/.test(path);
    const answer = await ownChange(name, slot, after, paths.filter(isOwn));
    const rest = operatorsChange(
      slot,
      after,
      paths.filter((path) => !isOwn(path)),
    );
    const isRefused = answer?.outcome === REFUSED;
    const taken = isRefused ? withOwnOf(after, before) : after;
    settings.set(name, next === undefined && !isRefused ? undefined : taken);
    if (slot !== undefined && !isUp(slot)) slot.settings = taken;
    return entriesOf(name, [...(answer === undefined ? [] : [answer]), ...rest]);
  };

  /** What becomes of the module's own configuration; undefined when nothing of it has changed. */
  const ownChange = async (
    name: string,
    slot: Slot | undefined,
    after: ModuleSettings,
    paths: readonly string[],
  ): Promise<ConfigAnswer | undefined> => {
    const running = slot?.running;
    if (paths.length === 0 && running === undefined) return undefined;
    const manifest = running === undefined ? onDisk(name, after) : slot?.manifest;
    // its start will tell what is wrong with the module itself
    if (manifest === undefined) return { outcome: AT_NEXT_START, keys: paths };
    try {
      const config = composeModuleConfig({ manifest, settings: after, env });
      if (running !== undefined) return await handOver(name, manifest, running, { config, settings: after, paths });
      return { outcome: AT_NEXT_START, keys: paths };
    } catch (thrown) {
      const error = HostError.from(thrown);
      const path = String(error.details.path ?? '').replace(`modules.${name}.`, '');
      const keys = paths.length === 0 && path !== '' ? [path] : paths;
      return { outcome: REFUSED, keys, error: new HostError('CONFIG_REFUSED', error.message, { cause: error }) };
    }
  };

  const onDisk = (name: string, after: ModuleSettings) => {
    try {
      return readModule(moduleDir(parts.options.modulesDir, name, after), name).manifest;
    } catch {
      return undefined;
    }
  };

  /** What the module is not asked about. */
  const operatorsChange = (slot: Slot | undefined, after: ModuleSettings, paths: readonly string[]): ConfigAnswer[] =>
    paths.map((path) => {
      const isGone = path === 'grants' && slot?.running !== undefined && withdraw(slot, slot.running, after);
      return { outcome: isGone ? APPLIED : AT_NEXT_START, keys: [path] };
    });

  /** Takes back what is not granted any more; true when nothing else is to come. */
  const withdraw = ({ name, manifest }: Slot, running: Running, after: ModuleSettings): boolean => {
    const { grants } = running.spawn.session;
    const granted = grantedOf(manifest, after.grants);
    for (const permission of grants.list()) {
      if (granted.includes(permission)) continue;
      grants.withdraw(permission);
      parts.audit.record({ kind: 'PERMISSION_WITHDRAWN', moduleId: name, permissions: [permission] });
    }
    return granted.every((permission) => grants.list().includes(permission));
  };

  const entriesOf = (module: string, answers: readonly ConfigAnswer[]): ConfigChange[] =>
    [APPLIED, AT_NEXT_START, REFUSED].flatMap((outcome) => {
      const alike = answers.filter((answer) => answer.outcome === outcome);
      if (alike.length === 0) return [];
      const keys = alike.flatMap((answer) => answer.keys).sort();
      const error = alike.find((answer) => answer.error !== undefined)?.error;
      const message = error === undefined ? '' : printableLine(error.message, MAX_MESSAGE_CHARS);
      if (error === undefined) {
        const when = outcome === APPLIED ? 'in force' : 'in force at its next start';
        log.info({ module, keys }, `changed configuration of ${module}: ${when}`);
      } else log.warn({ module, keys, reason: error.reason }, `changed configuration of ${module} refused: ${message}`);
      const failure = error && {
        reason: ReasonNumber[error.reason],
        message,
        timeUnixMs: BigInt(parts.clock.unixMs()),
      };
      return [{ module, outcome, changedKeys: keys, failure }];
    });

  /** One after the other; within one, modules at the same time, each in its turn. */
  const changeAll = (
    wanted: () => Promise<ReadonlyMap<string, ModuleSettings | undefined>>,
  ): Promise<ConfigChange[]> => {
    const result = last.then(async () => {
      const names = [...(await wanted())].sort(([a], [b]) => (a < b ? -1 : 1));
      const changes = await Promise.all(
        names.map(([name, next]) => {
          const slot = lifecycle.slot(name);
          return slot === undefined ? change(name, next) : inTurn(slot, () => change(name, next));
        }),
      );
      const loaded = changes.flat().filter(({ outcome }) => outcome !== REFUSED);
      const sections = [...new Set(loaded.map(({ module }) => `modules.${module}`))];
      if (sections.length > 0) parts.lifecycleEvents.configLoaded(sections);
      return changes.flat();
    });
    last = result.catch(() => {});
    return result;
  };

  return {
    async apply(signal) {
      const read = parts.options.readModules;
      if (read === undefined) {
        throw new HostError('INVALID_REQUEST', 'the host was started without a file; there is nothing to read anew');
      }
      let needsRestart: readonly string[] = [];
      const changes = await changeAll(async () => {
        const reading = await read();
        throwIfAborted(signal);
        needsRestart = reading.needsRestart;
        const names = new Set([...Object.keys(settings.all()), ...Object.keys(reading.modules)]);
        return new Map([...names].map((name) => [name, reading.modules[name]]));
      });
      return { changes, needsRestart: [...needsRestart] };
    },
    configure: (name, next) => changeAll(async () => new Map([[name, next]])),
  };
}

/** `after` with the configuration of `before`. */
function withOwnOf(after: ModuleSettings, { config, secrets }: ModuleSettings): ModuleSettings {
  const { config: _, secrets: __, ...rest } = after;
  return {
    ...rest,
    ...(config === undefined ? {} : { config }),
    ...(secrets === undefined ? {} : { secrets }),
  };
}

/** Settings in the words of the operator's file; the order of grants says nothing. */
function tableOf(settings: ModuleSettings): Record<string, unknown> {
  const { config, secrets, limits, network, grants, ...rest } = settings;
  return {
    ...inFileWords(rest),
    config,
    secrets,
    limits: limits && inFileWords(limits),
    network: typeof network === 'object' ? inFileWords(network) : network,
    ...(grants === undefined ? {} : { grants: [...grants].sort() }),
  };
}

function inFileWords(table: object): Record<string, unknown> {
  const word = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(table).map(([key, value]) => [word(key), value as unknown]));
}
