import type {
  DisableModuleResponse,
  EnableModuleResponse,
  LoadModuleResponse,
  UnloadModuleResponse,
} from '../../../gen/ts/modhost/admin/v1/admin.js';
import type { ModuleStatus } from '../../../gen/ts/modhost/admin/v1/status.js';
import { callUnary } from '../../client/admin-client.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withProgress } from '../progress.js';
import { withHost } from '../reach.js';
import { MODULE_STATUS } from './list.js';

/** `modhost load NAME`: starts a module and waits until it is Ready. */
export async function load(
  context: CommandContext,
  name: string,
  flags: AskFlags & { wait?: boolean },
): Promise<number> {
  const request = { name, noWait: flags.wait === false };
  const { module } = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `loading ${name}`,
      callUnary<LoadModuleResponse>((done) => client.admin.loadModule(request, done)),
    ),
  );
  return tellModule(context, flags, module);
}

/** `modhost reload NAME`: the manifest anew, the running spawn stopped, the next one started. */
export async function reload(context: CommandContext, name: string, flags: AskFlags): Promise<number> {
  const { module } = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `reloading ${name}`,
      callUnary<LoadModuleResponse>((done) => client.admin.reloadModule({ name }, done)),
    ),
  );
  return tellModule(context, flags, module);
}

/** `modhost unload NAME`: stops a module, and with `--cascade` first those that need it. */
export async function unload(context: CommandContext, name: string, flags: CascadeFlags): Promise<number> {
  const request = { name, cascade: flags.cascade === true };
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `unloading ${name}`,
      callUnary<UnloadModuleResponse>((done) => client.admin.unloadModule(request, done)),
    ),
  );
  return tellStopped(context, flags, name, answer);
}

/** `modhost enable NAME`: keeps the switch, and starts the module unless it runs. */
export async function enable(context: CommandContext, name: string, flags: AskFlags): Promise<number> {
  const { module } = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `enabling ${name}`,
      callUnary<EnableModuleResponse>((done) => client.admin.enableModule({ name }, done)),
    ),
  );
  return tellModule(context, flags, module);
}

/** `modhost disable NAME`: stops a module and keeps the switch. */
export async function disable(context: CommandContext, name: string, flags: CascadeFlags): Promise<number> {
  const request = { name, cascade: flags.cascade === true };
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `disabling ${name}`,
      callUnary<DisableModuleResponse>((done) => client.admin.disableModule(request, done)),
    ),
  );
  return tellStopped(context, flags, name, answer);
}

/** Flags of what may stop other modules too. */
type CascadeFlags = AskFlags & { cascade?: boolean };

function tellStopped(
  context: CommandContext,
  flags: AskFlags,
  name: string,
  answer: UnloadModuleResponse | DisableModuleResponse,
): number {
  if (flags.json === true) {
    sayJson(context, context.words().plain('modhost.admin.v1.UnloadModuleResponse', answer));
    return EXIT.ok;
  }
  for (const dependent of answer.alsoUnloaded) context.terminal.say(`${dependent} unloaded, it needs ${name}`);
  return tellModule(context, flags, answer.module);
}

function tellModule(context: CommandContext, flags: AskFlags, module: ModuleStatus | undefined): number {
  if (module === undefined) return EXIT.failed;
  const words = context.words();
  if (flags.json === true) {
    sayJson(context, words.plain(MODULE_STATUS, module));
    return EXIT.ok;
  }
  const state = words.enumName('modhost.v1.ModuleState', module.state);
  const pid = module.pid === 0 ? '' : `, pid ${module.pid}`;
  const { terminal } = context;
  const unsigned = module.unsigned ? `, ${terminal.paint('yellow', 'UNSIGNED')}` : '';
  const off = module.enabled ? '' : ', disabled: it is not started by itself';
  terminal.say(`${module.name} ${module.version} ${state}${pid}${unsigned}${off}`.replace('  ', ' '));
  if (module.externalSocket !== '') terminal.say(`MODHOST_SOCKET=${module.externalSocket}`);
  if (module.externalTokenFile !== '') terminal.say(`MODHOST_TOKEN_FILE=${module.externalTokenFile}`);
  return EXIT.ok;
}
