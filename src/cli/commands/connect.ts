import { HostError } from '../../contract/error.js';
import { printable } from '../../core/printable.js';
import { findNode } from '../../host/connect-node.js';
import { type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withProgress } from '../progress.js';
import { nodeKindOf } from '../settings.js';

/** Flags of `modhost connect`. */
export interface ConnectFlags {
  network?: string;
  nodeUrl?: string;
  nodeUser?: string;
  nodeCookieFile?: string;
  nodeDir?: string;
  nodeTlsCa?: string;
  json?: boolean;
}

/** `modhost connect [KIND]`: finds the node, and prints the exact lines that it and the host lack. Changes nothing. */
export async function connect(context: CommandContext, word: string, flags: ConnectFlags): Promise<number> {
  const { terminal } = context;
  const kind = nodeKindOf(word);
  if (kind === undefined) throw new HostError('BAD_CONFIG', 'connect knows bitcoind and btcd');
  const search = {
    network: flags.network,
    url: flags.nodeUrl,
    user: flags.nodeUser,
    password: context.env.MODHOST_NODE_PASSWORD,
    cookieFile: flags.nodeCookieFile,
    dir: flags.nodeDir,
    tlsCa: flags.nodeTlsCa,
  };
  const interrupted = new AbortController();
  const release = context.onSignal('SIGINT', () => interrupted.abort(new HostError('CANCELLED', 'interrupted')));
  const report = await withProgress(
    terminal,
    `looking for ${kind}`,
    findNode(kind, search, interrupted.signal),
  ).finally(release);
  const exit = report.reachable ? EXIT.ok : EXIT.failed;
  if (flags.json === true) {
    sayJson(context, {
      kind: report.kind,
      network: report.network,
      url: report.url,
      reachable: report.reachable,
      version: report.version,
      detail: report.detail,
      data_dir: report.dataDir ?? null,
      config_file: report.configFile ?? null,
      node_lines: report.nodeLines,
      host_lines: report.hostLines,
    });
    return exit;
  }
  terminal.tell(`${kind} at ${report.url}: ${printable(report.detail)}`);
  if (report.nodeLines.length > 0) {
    terminal.tell(`\nput into ${report.configFile ?? `the configuration of ${kind}`}, and restart the node:\n`);
    for (const { line, why, required } of report.nodeLines) {
      terminal.say(terminal.paint('dim', `# ${required ? '' : 'optional: '}${why}`));
      terminal.say(line);
    }
  } else if (report.reachable) terminal.tell('the node has everything that the host needs');
  terminal.tell('\nput into modhost.toml (mode 600, it holds a password):\n');
  for (const line of report.hostLines) terminal.say(line);
  return exit;
}
