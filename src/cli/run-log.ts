import type { GetStatusResponse } from '../../gen/ts/modhost/admin/v1/admin.js';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { createContractRegistry } from '../contract/descriptors.js';
import { createContractWords } from '../contract/plain.js';
import type { Logger } from '../core/logger.js';
import type { Host } from '../host/host.js';
import { createPinoLogger, openLogOutput } from '../host/pino-logger.js';
import type { LoadOutcome } from '../host/shelf.js';
import { createPrettyLogger } from './pretty-log.js';
import type { RunSettings } from './settings.js';
import { hostLines } from './status-text.js';
import type { Terminal } from './terminal.js';

/** Longest wait for the node's own words in the summary, milliseconds. */
const SUMMARY_TIMEOUT_MS = 2_000;
/** Standard output. */
const STDOUT = 1;

/** What a run writes: log lines, and what an operator wants to see when it has started. */
export interface RunLog {
  readonly logger: Logger;
  /** Host, node, containment and warnings. */
  tellStart(host: Host): Promise<void>;
  /** The modules that came up; why others did not, the host has logged. */
  tellModules(host: Host, outcomes: readonly LoadOutcome[]): void;
  flush(): void;
}

/** Makes the log of a run: lines for people on a terminal, one JSON object a line everywhere else. */
export function createRunLog({ logFormat, logLevel }: RunSettings, terminal: Terminal): RunLog {
  const output = openLogOutput(STDOUT, () => {});
  const pretty = logFormat === 'pretty' || (logFormat === 'auto' && terminal.interactive);
  const { paint } = terminal;
  const logger = pretty
    ? createPrettyLogger((lines) => output.write(lines), logLevel, paint)
    : createPinoLogger(output, logLevel);
  return {
    logger,
    flush: () => output.flush(),
    async tellStart(host) {
      const status = await host.control.status(AbortSignal.timeout(SUMMARY_TIMEOUT_MS));
      if (pretty) {
        const lines = hostLines(status, createContractWords(createContractRegistry()), paint);
        output.write(`${lines.join('\n')}\n`);
      } else tellFacts(logger, status);
    },
    tellModules(host, outcomes) {
      const failed = outcomes.filter(({ error }) => error !== undefined);
      for (const module of host.list()) {
        if (failed.some(({ name }) => name === module.name)) continue;
        logger.info(moduleFacts(module), moduleText(module));
      }
      if (outcomes.length === 0) logger.info({}, 'no module is enabled; the host waits for: modhost load NAME');
    },
  };
}

function tellFacts(logger: Logger, { host, node }: GetStatusResponse): void {
  logger.info(
    {
      version: host?.version,
      pid: host?.pid,
      node: node?.kind,
      network: node?.network,
      simulated: node?.simulated,
      height: node?.tipHeight,
      admin_socket_dir: host?.socketDir,
      data_dir: host?.dataDir,
      modules_dir: host?.modulesDir,
    },
    'modhost has started',
  );
  if (node?.simulated === true) logger.warn({}, 'the chain is SIMULATED: its blocks and coins are worth nothing');
  for (const { code, message } of host?.warnings ?? []) logger.warn({ code }, message);
}

function moduleFacts(module: ModuleStatus): Record<string, unknown> {
  const { name, version, pid, externalSocket } = module;
  return {
    module: name,
    version,
    ...(pid === 0 ? {} : { pid }),
    ...(externalSocket === '' ? {} : { socket: externalSocket, token_file: module.externalTokenFile }),
  };
}

function moduleText({ pid, externalSocket, reason }: ModuleStatus): string {
  if (externalSocket !== '') return 'waits for somebody to start it on its socket';
  return pid === 0 ? `not started${reason === '' ? '' : `: ${reason}`}` : 'loaded';
}
