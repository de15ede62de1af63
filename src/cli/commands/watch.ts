import type { GetContainmentResponse, GetDeliveryStatsResponse } from '../../../gen/ts/modhost/admin/v1/admin.js';
import { callUnary } from '../../client/admin-client.js';
import { messagesOf } from '../../client/streams.js';
import { printable } from '../../core/printable.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { followHost, withHost } from '../reach.js';
import { guaranteeLines, guaranteeText, labelled } from '../status-text.js';
import { tableLines } from '../table.js';

/** `modhost stats [NAME]`: the accounting of events per module and queue. */
export async function stats(context: CommandContext, name: string, flags: AskFlags): Promise<number> {
  const answer = await withHost(flags, context.env, (client) =>
    callUnary<GetDeliveryStatsResponse>((done) => client.admin.getDeliveryStats({ module: name }, done)),
  );
  const words = context.words();
  if (flags.json === true) {
    sayJson(context, words.plain('modhost.admin.v1.GetDeliveryStatsResponse', answer));
    return EXIT.ok;
  }
  const rows = answer.modules.flatMap(({ module, queues }) => queues.map((queue) => ({ module, queue })));
  type Row = (typeof rows)[number];
  const count = (title: string, of: (row: Row) => bigint) => ({
    title,
    cell: (row: Row) => String(of(row)),
    right: true,
  });
  const lines = tableLines(
    rows,
    [
      { title: 'MODULE', cell: ({ module }) => module },
      { title: 'QUEUE', cell: ({ queue }) => words.enumName('modhost.v1.EventQueue', queue.queue).toLowerCase() },
      count('PUBLISHED', ({ queue }) => queue.published),
      count('DELIVERED', ({ queue }) => queue.delivered),
      count('QUEUED', ({ queue }) => queue.queued),
      count('DROPPED', ({ queue }) => queue.dropped),
      count('FULL', ({ queue }) => queue.channelFull),
      count('FAILED', ({ queue }) => queue.failed),
    ],
    context.terminal.paint,
  );
  for (const line of lines) context.terminal.say(line);
  context.terminal.say(`${answer.publishedTotal} events published since the host started`);
  return EXIT.ok;
}

/** Flags of `modhost audit`. */
export interface AuditFlags extends AskFlags {
  follow?: boolean;
  lines: number;
}

/** `modhost audit [NAME...]`: grants, refusals and the operator's commands. */
export async function audit(context: CommandContext, names: readonly string[], flags: AuditFlags): Promise<number> {
  const words = context.words();
  const { terminal } = context;
  const request = { modules: [...names], kinds: [], tail: flags.lines, follow: flags.follow === true };
  await followHost(flags, context, async (client) => {
    for await (const { entries } of messagesOf(client.admin.streamAudit(request))) {
      for (const entry of entries) {
        if (flags.json === true) {
          terminal.say(JSON.stringify(words.plain('modhost.admin.v1.AuditEntry', entry)));
          continue;
        }
        const time = `${new Date(Number(entry.timeUnixMs)).toISOString().slice(0, 19)}Z`;
        const permissions = entry.permissions.map((one) => words.enumName('modhost.v1.Permission', one).toLowerCase());
        const parts = [
          words.enumName('modhost.admin.v1.AuditKind', entry.kind),
          entry.module,
          entry.method,
          entry.reason === 0 ? '' : words.enumName('modhost.v1.ErrorReason', entry.reason),
          permissions.join(','),
          entry.count > 1n ? `x${entry.count}` : '',
          entry.message,
        ];
        terminal.say(printable([time, ...parts.filter((part) => part !== '')].join(' ')));
      }
    }
  });
  return EXIT.ok;
}

/** `modhost containment [NAME]`: what this machine can hold modules to, and what holds for each. */
export async function containment(context: CommandContext, name: string, flags: AskFlags): Promise<number> {
  const answer = await withHost(flags, context.env, (client) =>
    callUnary<GetContainmentResponse>((done) => client.admin.getContainment({ module: name }, done)),
  );
  const words = context.words();
  const { terminal } = context;
  if (flags.json === true) {
    sayJson(context, words.plain('modhost.admin.v1.GetContainmentResponse', answer));
    return EXIT.ok;
  }
  terminal.say(labelled('minimum', answer.minimum, terminal.paint));
  for (const line of guaranteeLines(answer.machine, words, terminal.paint)) terminal.say(line);
  for (const { module, guarantees } of answer.modules) {
    terminal.say(labelled(module, guaranteeText(guarantees, words), terminal.paint));
  }
  return EXIT.ok;
}
