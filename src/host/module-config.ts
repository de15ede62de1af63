import { HostError } from '../contract/error.js';
import { type ModuleConfig, secretConfigKeys, validateModuleConfig } from '../manifest/config.js';
import type { ConfigType } from '../manifest/config-schema.js';
import { unknownKeyText } from '../manifest/field.js';
import type { Manifest } from '../manifest/manifest.js';
import type { ModuleSettings } from './options.js';
import { readSecret } from './secret-file.js';

/** What a configuration is made of. */
export interface ConfigSources {
  readonly manifest: Pick<Manifest, 'name' | 'config'>;
  readonly settings: Pick<ModuleSettings, 'config' | 'secrets'>;
  /** Where secrets may lie beside files. */
  readonly env: NodeJS.ProcessEnv;
}

/**
 * The configuration that a module receives: the operator's values and secrets, checked against the manifest and completed by
 * its defaults. Secrets are read at each call, so one that was replaced counts from the next start or `config apply`.
 *
 * A key may come by `[secrets]` only where the manifest calls it secret: any other is shown in answers and logs. A secret of an
 * array type has one element per line.
 *
 * @throws HostError UNKNOWN_FIELD, BAD_VALUE, FIELD_REQUIRED of the schema; BAD_CONFIG for a secret that cannot be read, or a key
 *   that is written twice or in the wrong table; each with the key as `details.path`, never with a value
 */
export function composeModuleConfig({ manifest, settings, env }: ConfigSources): ModuleConfig {
  const { config = {}, secrets = {} } = settings;
  const values = new Map(Object.entries(config));
  for (const [key, source] of Object.entries(secrets)) {
    const where = `modules.${manifest.name}.secrets.${key}`;
    const rules = manifest.config.get(key);
    if (rules === undefined) {
      const known = [...secretConfigKeys(manifest)];
      const text = known.length === 0 ? 'is not known here; the module has no secrets' : unknownKeyText(key, known);
      throw new HostError('UNKNOWN_FIELD', `${where} ${text}`, { details: { path: where } });
    }
    if (!rules.secret) {
      throw new HostError(
        'BAD_CONFIG',
        `${where}: the manifest does not call it secret, so it would be shown; write its value into config`,
        { details: { path: where } },
      );
    }
    if (values.has(key)) {
      throw new HostError('BAD_CONFIG', `${where} stands in config as well; keep one`, { details: { path: where } });
    }
    values.set(key, typedValue(rules.type, readSecret(source, env, where)));
  }
  return validateModuleConfig(manifest, Object.fromEntries(values));
}

/** Secret keys whose values stand in the operator's file itself: they work, and lie safer in files of their own. */
export function plainSecrets({ manifest, settings }: Omit<ConfigSources, 'env'>): string[] {
  const secret = secretConfigKeys(manifest);
  return Object.keys(settings.config ?? {}).filter((key) => secret.has(key));
}

/** Texts of a configuration that must not be shown, in the form that the module receives. */
export function secretTexts(manifest: Pick<Manifest, 'config'>, config: ModuleConfig): string[] {
  return [...secretConfigKeys(manifest)].flatMap((key) => {
    const value = Object.hasOwn(config, key) ? config[key] : undefined;
    return value === undefined ? [] : [value].flat().map(String);
  });
}

/** What stands in a file as TOML would have given it: text, unless the type wants something else. */
function typedValue(type: ConfigType, text: string): unknown {
  if (type.endsWith('[]')) return text.split(/\r?\n/).map((line) => scalarOf(type.slice(0, -2), line));
  return scalarOf(type, text);
}

function scalarOf(type: string, text: string): unknown {
  if (type === 'integer' && /^-?[0-9]{1,16}$/.test(text)) return BigInt(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
