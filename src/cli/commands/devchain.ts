import type { MineResponse, ReorgResponse, SubmitSpendsResponse } from '../../../gen/ts/modhost/admin/v1/devchain.js';
import { callUnary } from '../../client/admin-client.js';
import { HostError } from '../../contract/error.js';
import { fromHex, hashToDisplay } from '../../core/bytes.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withProgress } from '../progress.js';
import { withHost } from '../reach.js';

/** `modhost devchain mine N`: mines blocks at once. */
export async function mine(
  context: CommandContext,
  count: number,
  flags: AskFlags & { script?: string },
): Promise<number> {
  const coinbaseScript = fromHex(flags.script ?? '');
  if (coinbaseScript === undefined) throw new HostError('BAD_CONFIG', '--script must be hex');
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `mining ${count} blocks`,
      callUnary<MineResponse>((done) => client.devchain.mine({ count, coinbaseScript }, done)),
    ),
  );
  const hashes = answer.hashes.map(hashToDisplay);
  if (flags.json === true) sayJson(context, { height: answer.height, hashes });
  else
    for (const [i, hash] of hashes.entries()) context.terminal.say(`${answer.height - hashes.length + 1 + i} ${hash}`);
  return EXIT.ok;
}

/** `modhost devchain reorg N`: replaces the last blocks by a branch that is one longer. */
export async function reorg(context: CommandContext, depth: number, flags: AskFlags): Promise<number> {
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `replacing ${depth} blocks`,
      callUnary<ReorgResponse>((done) => client.devchain.reorg({ depth }, done)),
    ),
  );
  const disconnected = answer.disconnected.map(hashToDisplay);
  const connected = answer.connected.map(hashToDisplay);
  if (flags.json === true) {
    sayJson(context, { height: answer.height, disconnected, connected });
    return EXIT.ok;
  }
  const fork = answer.height - connected.length;
  for (const [i, hash] of disconnected.entries()) context.terminal.say(`- ${fork + disconnected.length - i} ${hash}`);
  for (const [i, hash] of connected.entries()) context.terminal.say(`+ ${fork + 1 + i} ${hash}`);
  return EXIT.ok;
}

/** `modhost devchain spend N`: signed transactions of the chain's own coins into the mempool. */
export async function spend(context: CommandContext, count: number, flags: AskFlags): Promise<number> {
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      context.terminal,
      `making ${count} transactions`,
      callUnary<SubmitSpendsResponse>((done) => client.devchain.submitSpends({ count }, done)),
    ),
  );
  const txids = answer.txids.map(hashToDisplay);
  if (flags.json === true) sayJson(context, { txids });
  else for (const txid of txids) context.terminal.say(txid);
  return EXIT.ok;
}
