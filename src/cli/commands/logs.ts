import type { LogLine } from '../../../gen/ts/modhost/admin/v1/admin.js';
import { messagesOf } from '../../client/streams.js';
import { LOG_LEVELS, type LogLevel } from '../../manifest/operator.js';
import type { AskFlags, CommandContext } from '../context.js';
import { EXIT } from '../exit.js';
import { logLineText } from '../pretty-log.js';
import { followHost } from '../reach.js';

/** Flags of `modhost logs`. */
export interface LogsFlags extends AskFlags {
  follow?: boolean;
  lines: number;
  level?: LogLevel;
}

/** `modhost logs [NAME...]`: what host and modules have logged, and with `-f` what they log from now on. */
export async function logs(context: CommandContext, names: readonly string[], flags: LogsFlags): Promise<number> {
  const words = context.words();
  const { terminal } = context;
  const request = {
    modules: [...names],
    minLevel: words.enumNumber('modhost.v1.LogLevel', (flags.level ?? 'trace').toUpperCase()) ?? 0,
    tail: flags.lines,
    follow: flags.follow === true,
  };
  await followHost(flags, context, async (client) => {
    let lost = 0n;
    for await (const batch of messagesOf(
      client.admin.streamLogs(request as Parameters<typeof client.admin.streamLogs>[0]),
    )) {
      if (batch.lost > lost)
        terminal.tell(`${batch.lost - lost} lines were lost: this terminal is slower than the log`);
      lost = batch.lost;
      for (const line of batch.lines) {
        if (flags.json === true) terminal.say(JSON.stringify(words.plain('modhost.admin.v1.LogLine', line)));
        else terminal.say(textOf(line, words.enumName('modhost.v1.LogLevel', line.level)));
      }
    }
  });
  return EXIT.ok;

  function textOf(line: LogLine, levelName: string): string {
    const level = LOG_LEVELS.find((known) => known.toUpperCase() === levelName) ?? 'info';
    const shown = {
      timeUnixMs: Number(line.timeUnixMs),
      level,
      module: line.module,
      message: line.target === '' ? line.message : `${line.target}: ${line.message}`,
      fields: line.fields.map(({ key, value }) => [key, value] as const),
    };
    return logLineText(shown, terminal.paint);
  }
}
