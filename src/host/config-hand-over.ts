import { ConfigOutcome } from '../../gen/ts/modhost/admin/v1/config.js';
import { InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../contract/error.js';
import { differingPaths } from '../core/differing-paths.js';
import type { ModuleConfig } from '../manifest/config.js';
import type { Manifest } from '../manifest/manifest.js';
import { secretTexts } from './module-config.js';
import type { ModuleSettings } from './options.js';
import type { Running } from './slot.js';

/** Time that a module has to take a changed configuration, milliseconds: as much as any call without a deadline of its own. */
export const CONFIG_CHANGE_MS = 10_000;

/** What became of some keys of a module's table. */
export interface ConfigAnswer {
  readonly outcome: ConfigOutcome;
  readonly keys: readonly string[];
  /** Why it was refused. */
  readonly error?: HostError;
}

/** A configuration that has passed the manifest's schema. */
export interface NewConfig {
  readonly config: ModuleConfig;
  /** What it was made of. */
  readonly settings: ModuleSettings;
  /** Paths of the table that differ from what was in force. */
  readonly paths: readonly string[];
}

/** One JSON object, secrets included: what the handshake and a ConfigInvocation carry. */
export function configJson(config: ModuleConfig): string {
  return JSON.stringify(config);
}

/**
 * Hands a changed configuration to a running module; it is in force once the module has answered that it is done. Undefined
 * when nothing has changed, the contents of secret files included.
 */
export async function handOver(
  name: string,
  manifest: Pick<Manifest, 'config'>,
  running: Running,
  { config, settings, paths }: NewConfig,
): Promise<ConfigAnswer | undefined> {
  const changedKeys = differingPaths(running.config, config, 1);
  // a secret file was written anew, or an earlier change waited for a stream that is there now
  const others = changedKeys.map(
    (key) => `${Object.hasOwn(settings.secrets ?? {}, key) ? 'secrets' : 'config'}.${key}`,
  );
  const keys = [...new Set([...paths, ...others])];
  if (changedKeys.length === 0) return keys.length === 0 ? undefined : { outcome: ConfigOutcome.APPLIED, keys };
  // before it hears of them: it may print them while it answers
  running.redactor.learn(secretTexts(manifest, config));
  const { session } = running.spawn;
  if (session.state() === 'waiting') {
    // its handshake is still to come
    running.config = config;
    return { outcome: ConfigOutcome.AT_NEXT_START, keys };
  }
  if (!session.invocations.serving()) return { outcome: ConfigOutcome.AT_NEXT_START, keys };
  const refused = (error: HostError): ConfigAnswer => ({ outcome: ConfigOutcome.REFUSED, keys, error });
  try {
    const outcome = await session.invocations.ask(
      { $case: 'configChange', value: { configJson: configJson(config), changedKeys } },
      { timeoutMs: CONFIG_CHANGE_MS },
    );
    if (outcome.$case !== 'failure') {
      running.config = config;
      return { outcome: ConfigOutcome.APPLIED, keys };
    }
    const { kind, message } = outcome.value;
    if (kind === InvocationFailureKind.UNSUPPORTED) {
      return { outcome: ConfigOutcome.AT_NEXT_START, keys };
    }
    const why = message === '' ? 'it gave no reason' : running.redactor.redact(message);
    return refused(new HostError('CONFIG_REFUSED', `${name} refused it: ${why}`));
  } catch (thrown) {
    const { reason, message } = HostError.from(thrown);
    return refused(new HostError(reason, `${message}; whether it took the configuration is not known: reload it`));
  }
}
