import { mkdirSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HostError } from '../../contract/error.js';
import { createSystemClock } from '../../core/clock.js';
import { daemonRpc } from '../../host/front-door.js';
import { createHost, type Host } from '../../host/host.js';
import { openNode } from '../../host/open-node.js';
import { createServiceNotifier } from '../../host/service-notify.js';
import type { CommandContext } from '../context.js';
import { EXIT, exitCodeOf } from '../exit.js';
import { withProgress } from '../progress.js';
import { createRunLog, type RunLog } from '../run-log.js';
import { type RunFlags, readAgain, resolveRun } from '../settings.js';
import { createStopSwitch } from '../stop-switch.js';

/**
 * `modhost run`: a host in the foreground until it is told to stop. A module that does not start is told and leaves the
 * host running; only what the host itself lacks ends it.
 */
export async function run(context: CommandContext, flags: RunFlags): Promise<number> {
  const settings = resolveRun(flags, context.env);
  const clock = createSystemClock();
  const log = createRunLog(settings, context.terminal);
  const { node, devchain } = openNode(settings.node, {
    clock,
    logger: log.logger,
    dataDir: join(settings.dataDir, 'chain'),
  });
  const service = createServiceNotifier(context.env);
  const stopSwitch = createStopSwitch(context, log, () => void service.stopping());
  const { config, file } = settings;
  const host = createHost({
    modulesDir: settings.modulesDir,
    dataDir: settings.dataDir,
    socketDir: settings.socketDir,
    node,
    ...(devchain === undefined ? {} : { devchain }),
    modules: config.modules,
    allowUnsigned: settings.allowUnsigned,
    sandboxMinimum: settings.sandboxMinimum,
    limits: config.limits,
    network: config.network,
    interpreters: config.interpreters,
    ...(config.log.dir === undefined ? {} : { logDir: config.log.dir }),
    providers: config.providers,
    rpc: daemonRpc(config.rpc),
    ...(config.calls.nodeInFlight === undefined ? {} : { maxNodeCalls: config.calls.nodeInFlight }),
    ...(config.calls.perSecond === undefined ? {} : { callsPerSecond: config.calls.perSecond }),
    ...(file === undefined ? {} : { configFile: file, readModules: () => readAgain({ config, file }) }),
    env: context.env,
    logger: log.logger,
    clock,
    onStopRequested: () => stopSwitch.press('a stop was asked for'),
  });
  stopSwitch.guard(host);
  for (const warning of settings.warnings) log.logger.warn({}, warning);
  if (settings.ownModulesDir) mkdirSync(settings.modulesDir, { recursive: true, mode: 0o755 });
  try {
    await withProgress(context.terminal, `starting on ${settings.node.kind}`, host.start());
    await log.tellStart(host);
    void service.ready(`on ${settings.node.kind}`);
    void loadAll(host, log, stopSwitch);
    return await stopSwitch.stopped;
  } catch (thrown) {
    // a stop during the start makes the start fail; that is no failure
    if (stopSwitch.pressed()) return await stopSwitch.stopped;
    const error = HostError.from(thrown);
    log.logger.error(
      { reason: error.reason, ...(error.reason === 'INTERNAL' ? { err: error.cause } : {}) },
      error.message,
    );
    await host.stop();
    return exitCodeOf(error) === EXIT.ok ? EXIT.failed : exitCodeOf(error);
  } finally {
    stopSwitch.release();
    service.close();
    log.flush();
    if (settings.ownSocketDir) {
      removeEmpty(settings.socketDir);
      // `/run/modhost`, which hosts of several networks share: the last one takes it along.
      removeEmpty(dirname(settings.socketDir));
    }
  }
}

/** A directory that only the host made goes with it, unless somebody has put something there. */
function removeEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // not empty, or never made: both are fine
  }
}

/** Starts the modules and tells what became of each; the host is reachable meanwhile. */
async function loadAll(host: Host, log: RunLog, stopSwitch: { pressed(): boolean }): Promise<void> {
  try {
    const outcomes = await host.autoLoad();
    if (stopSwitch.pressed()) return;
    log.tellModules(host, outcomes);
  } catch (thrown) {
    if (stopSwitch.pressed()) return;
    const error = HostError.from(thrown);
    log.logger.error({ reason: error.reason }, `no module was loaded: ${error.message}`);
  }
}
