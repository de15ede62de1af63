import type { ErrorReason } from '../contract/error.js';
import { HostError } from '../contract/error.js';
import { moduleDir, readModule } from '../host/discover.js';
import { composeModuleConfig, plainSecrets } from '../host/module-config.js';
import type { ConfigField } from '../manifest/config-schema.js';
import type { ModuleTable } from '../manifest/operator.js';

/** What a check of the modules' tables came to. */
export interface ModulesCheck {
  /** Modules that would not start, and why. */
  readonly problems: { readonly module: string; readonly reason: ErrorReason; readonly message: string }[];
  /** What is worth knowing, or cannot be known here. */
  readonly hints: string[];
}

/** Checks each module's table against its manifest, as its start would; nothing is started. */
export function checkModules(
  tables: Readonly<Record<string, ModuleTable>>,
  modulesDir: string,
  env: NodeJS.ProcessEnv,
): ModulesCheck {
  const check: ModulesCheck = { problems: [], hints: [] };
  for (const [module, table] of Object.entries(tables)) {
    try {
      checkModule(module, table, modulesDir, env, check.hints);
    } catch (thrown) {
      const { reason, message } = HostError.from(thrown);
      // the host starts without it, and says so
      if (reason === 'MODULE_NOT_FOUND') check.hints.push(`${module}: ${message}`);
      else check.problems.push({ module, reason, message });
    }
  }
  return check;
}

function checkModule(
  name: string,
  table: ModuleTable,
  modulesDir: string,
  env: NodeJS.ProcessEnv,
  hints: string[],
): void {
  const { manifest } = readModule(moduleDir(modulesDir, name, table), name);
  for (const key of plainSecrets({ manifest, settings: table })) {
    hints.push(`modules.${name}.config.${key} is a secret: [modules.${name}.secrets] keeps it out of this file`);
  }
  const fields = new Map(manifest.config);
  const secrets = { ...table.secrets };
  // a secret that only the host can read is left out, the rest is checked all the same; each round leaves one out
  for (let round = 0; round <= manifest.config.size; round += 1) {
    try {
      composeModuleConfig({ manifest: { name, config: fields }, settings: { ...table, secrets }, env });
      return;
    } catch (thrown) {
      const error = HostError.from(thrown);
      const key = String(error.details.path ?? '').split('.')[3] ?? '';
      const source = secrets[key];
      const isHosts =
        error.details.cause === 'unreadable' || (error.details.cause === 'absent' && 'env' in (source ?? {}));
      if (source === undefined || !isHosts) throw error;
      hints.push(`${error.message}; whether the host can read it is not known here`);
      delete secrets[key];
      const rules = fields.get(key);
      if (rules !== undefined) fields.set(key, { ...rules, required: false } satisfies ConfigField);
    }
  }
}
