import type { ModuleStatus } from '../../../gen/ts/modhost/admin/v1/status.js';
import { callUnary } from '../../client/admin-client.js';
import { printableLine } from '../../core/printable.js';
import { type AskFlags, type Command, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withHost } from '../reach.js';
import { durationText, tableLines } from '../table.js';

/** Full name of the message that a module is told in. */
export const MODULE_STATUS = 'modhost.admin.v1.ModuleStatus';
/** Full name of the enum of its states. */
const MODULE_STATE = 'modhost.v1.ModuleState';
/** Longest text in a table's last column, characters. */
const MAX_NOTE_CHARS = 160;

/** `modhost list`: every module that the host knows. */
export const list: Command<AskFlags> = async (context, flags) => {
  const { modules } = await withHost(flags, context.env, (client) =>
    callUnary<{ modules: ModuleStatus[] }>((done) => client.admin.listModules({}, done)),
  );
  if (flags.json === true) {
    sayJson(
      context,
      modules.map((module) => context.words().plain(MODULE_STATUS, module)),
    );
  } else if (modules.length === 0) {
    context.terminal.tell('no modules');
  } else {
    for (const line of moduleTable(context, modules)) context.terminal.say(line);
  }
  return EXIT.ok;
};

/** Lines of the table of modules. */
export function moduleTable(context: CommandContext, modules: readonly ModuleStatus[]): string[] {
  const { paint } = context.terminal;
  const words = context.words();
  const now = Date.now();
  return tableLines(
    modules,
    [
      { title: 'NAME', cell: ({ name }) => name },
      { title: 'VERSION', cell: ({ version }) => version || '-' },
      {
        title: 'STATE',
        cell: ({ state }) => words.enumName(MODULE_STATE, state),
        paint: ({ state }, text) => paint(stateStyle(words.enumName(MODULE_STATE, state)), text),
      },
      { title: 'PID', cell: ({ pid }) => (pid === 0 ? '-' : String(pid)), right: true },
      { title: 'RESTARTS', cell: ({ restarts }) => String(restarts), right: true },
      {
        title: 'UP',
        cell: ({ readyUnixMs }) => (readyUnixMs === 0n ? '-' : durationText(now - Number(readyUnixMs))),
        right: true,
      },
      {
        title: 'NOTE',
        cell: (module) => noteOf(module, words.enumName(MODULE_STATE, module.state)),
        paint: ({ unsigned }, text) => (unsigned ? text.replace('UNSIGNED', paint('yellow', 'UNSIGNED')) : text),
      },
    ],
    paint,
  );
}

/** What should not be overlooked about a module: that nobody vouches for it, and why it does not run. */
function noteOf(module: ModuleStatus, state: string): string {
  const failed = state === 'RUNNING' ? '' : module.reason;
  const parts = [module.unsigned ? 'UNSIGNED' : '', failed].filter((part) => part !== '');
  return printableLine(parts.join('; '), MAX_NOTE_CHARS);
}

function stateStyle(state: string): 'green' | 'red' | 'yellow' | 'dim' {
  if (state === 'RUNNING') return 'green';
  if (['FAILED', 'CRASHED', 'QUARANTINED'].includes(state)) return 'red';
  return state === 'STOPPED' || state === 'DISCOVERED' ? 'dim' : 'yellow';
}
