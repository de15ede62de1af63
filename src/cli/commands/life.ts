import type { LoadModuleResponse, UnloadModuleResponse } from '../../../gen/ts/modhost/admin/v1/admin.js';
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
export async function unload(
  context: CommandContext,
  name: string,
  flags: AskFlags & { cascade?: boolean },
): Promise<number> {
  const request = { name, cascade: flags.cascade === true };
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `unloading ${name}`,
      callUnary<UnloadModuleResponse>((done) => client.admin.unloadModule(request, done)),
    ),
  );
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
  terminal.say(`${module.name} ${module.version} ${state}${pid}${unsigned}`);
  if (module.externalSocket !== '') terminal.say(`MODHOST_SOCKET=${module.externalSocket}`);
  if (module.externalTokenFile !== '') terminal.say(`MODHOST_TOKEN_FILE=${module.externalTokenFile}`);
  return EXIT.ok;
}
