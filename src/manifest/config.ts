import { HostError } from '../contract/error.js';
import type { ConfigValue } from './config-schema.js';
import { readConfigValue } from './config-value.js';
import { unknownKeyText } from './field.js';
import type { Manifest } from './manifest.js';

/** A module's configuration as it is handed to the module: JSON values by key, without a prototype. */
export type ModuleConfig = Readonly<Record<string, ConfigValue>>;

/**
 * The configuration that a module receives: the operator's values checked against the manifest's `[config]`, and the
 * defaults of what the operator left out. A key without value and default is absent.
 *
 * No error carries a value: it may be a secret.
 *
 * @param values what the operator wrote, as TOML or JSON gave it
 * @throws HostError UNKNOWN_FIELD, BAD_VALUE, FIELD_REQUIRED, each with the key in `details.path`
 */
export function validateModuleConfig(
  manifest: Pick<Manifest, 'name' | 'config'>,
  values: Readonly<Record<string, unknown>>,
): ModuleConfig {
  const fields = manifest.config;
  const fail = (reason: 'UNKNOWN_FIELD' | 'BAD_VALUE' | 'FIELD_REQUIRED', key: string, text: string): never => {
    const path = `modules.${manifest.name}.config.${key}`;
    throw new HostError(reason, `${path} ${text}`, { details: { path } });
  };
  for (const key of Object.keys(values)) {
    if (!fields.has(key)) fail('UNKNOWN_FIELD', key, unknownKeyText(key, [...fields.keys()]));
  }
  const config: Record<string, ConfigValue> = Object.create(null) as Record<string, ConfigValue>;
  for (const [key, rules] of fields) {
    const raw = Object.hasOwn(values, key) ? values[key] : undefined;
    if (raw === undefined) {
      if (rules.required) fail('FIELD_REQUIRED', key, 'is required by the module');
      if (rules.default !== undefined) config[key] = rules.default;
      continue;
    }
    const answer = readConfigValue(rules, raw);
    if ('refused' in answer) fail('BAD_VALUE', key, answer.refused);
    else config[key] = answer.value;
  }
  return config;
}

/** Keys whose values must never be shown. */
export function secretConfigKeys(manifest: Pick<Manifest, 'config'>): ReadonlySet<string> {
  return new Set([...manifest.config].filter(([, rules]) => rules.secret).map(([key]) => key));
}
