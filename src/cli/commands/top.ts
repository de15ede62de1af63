import type { StreamTopResponse } from '../../../gen/ts/modhost/admin/v1/top.js';
import { messagesOf } from '../../client/streams.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { listenToInterrupt } from '../interrupt.js';
import { followHost } from '../reach.js';
import { type TopSort, type TopView, topLines } from '../top-text.js';

/** Flags of `modhost top`. */
export interface TopFlags extends AskFlags {
  /** Seconds between two measurements. */
  interval?: number;
  once?: boolean;
  sort: TopSort;
}

/** The alternate screen without a cursor, and the way back: what was on the terminal before is there again. */
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';

/**
 * `modhost top`: what each module costs node, host and machine, beside what it may: a live table on a terminal, one JSON
 * object a line with `--json`, one table after the other into a pipe.
 */
export async function top(context: CommandContext, flags: TopFlags): Promise<number> {
  const { terminal } = context;
  const live = terminal.interactive && flags.once !== true && flags.json !== true;
  const interrupt = listenToInterrupt(context);
  const show = live ? drawer(context) : printer(context, flags);
  if (live) terminal.draw(ENTER);
  try {
    await followHost(flags, context, async (client) => {
      const stream = client.admin.streamTop({ intervalMs: Math.round((flags.interval ?? 0) * 1_000) });
      interrupt.signal.addEventListener('abort', () => stream.cancel(), { once: true });
      if (live) terminal.draw('\u001b[H\u001b[2Jmeasuring …');
      for await (const load of messagesOf(stream)) {
        if (interrupt.signal.aborted) return;
        show(load, flags.sort);
        if (flags.once === true) return;
      }
    });
  } catch (thrown) {
    // Ctrl-C is how one leaves
    if (interrupt.code() === undefined) throw thrown;
  } finally {
    if (live) terminal.draw(LEAVE);
    interrupt.release();
  }
  return EXIT.ok;
}

type Show = (load: StreamTopResponse, sort: TopSort) => void;

function printer(context: CommandContext, flags: TopFlags): Show {
  const { terminal } = context;
  let shown = 0;
  return (load, sort) => {
    if (flags.json === true) {
      const told = context.words().plain('modhost.admin.v1.StreamTopResponse', load);
      // one object a line while they come; one for people to look at when there is but one
      if (flags.once === true) sayJson(context, told);
      else terminal.say(JSON.stringify(told));
      return;
    }
    if (shown > 0) terminal.say('');
    shown += 1;
    const columns = terminal.interactive ? terminal.size().columns : Number.POSITIVE_INFINITY;
    for (const line of topLines(load, viewOf(context, sort, columns))) terminal.say(line);
  };
}

/** Draws over what is there, line by line and in one piece: nothing flickers. */
function drawer(context: CommandContext): Show {
  const { terminal } = context;
  return (load, sort) => {
    const { columns, rows } = terminal.size();
    // the last column stays free: behind a full line some terminals would erase its end
    const lines = topLines(load, viewOf(context, sort, Math.max(1, columns - 1))).slice(0, rows);
    terminal.draw(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`);
  };
}

function viewOf(context: CommandContext, sort: TopSort, columns: number): TopView {
  const stateName = (state: number): string => context.words().enumName('modhost.v1.ModuleState', state);
  return { sort, columns, paint: context.terminal.paint, stateName };
}
