import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigChange } from '../../gen/ts/modhost/admin/v1/config.js';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import type { HostControl } from '../admin/host-control.js';
import { createContractRegistry } from '../contract/descriptors.js';
import { HostError } from '../contract/error.js';
import { readErrorTable } from '../contract/error-table.js';
import { readEventTypes } from '../contract/event-type.js';
import { readMethods } from '../contract/methods.js';
import type { permissionNumber } from '../contract/permission.js';
import { createStrictWire } from '../contract/strict-wire.js';
import { createSystemClock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import { inTime } from '../core/in-time.js';
import { createSilentLogger } from '../core/logger.js';
import { createBlockFacts } from '../events/block-facts.js';
import type { ModuleDelivery } from '../events/delivery-stats.js';
import { createEventHub } from '../events/hub.js';
import type { HeardEvent, ListenOptions } from '../events/listener.js';
import { type AdminServer, createAdminServer, MAX_ADMIN_CONNECTIONS } from '../ipc/admin-server.js';
import { assertSocketPath, prepareDirectory, type ReservedSocket, reserveSocket } from '../ipc/socket.js';
import { createStatusMapper } from '../ipc/status.js';
import { createNameResolver } from '../network/resolver.js';
import { createNodeBudget } from '../node/budget.js';
import { defaultInterpreters } from '../process/interpreters.js';
import { createLayBait } from '../process/lay-bait.js';
import { sweepChains } from '../process/leftovers.js';
import { createRunOnce } from '../process/run-once.js';
import { createRunner } from '../process/runner.js';
import { ETC_DIR } from '../sandbox/bubblewrap.js';
import { launchWord } from '../sandbox/gate.js';
import type { ResourceGroups } from '../sandbox/group.js';
import { createIdentityBook } from '../sandbox/identity.js';
import { openSandbox } from '../sandbox/open.js';
import { DEFAULT_EVENT_LIMITS } from '../services/event.js';
import { createTemplateWatch } from '../services/mining-watch.js';
import { createServeDenylists } from '../services/network-denylist.js';
import { DEFAULT_CALL_RATE } from '../session/quota.js';
import { ADMIN_SOCKET } from './admin-socket.js';
import { createAudit } from './audit.js';
import { createChainReader } from './chain-reader.js';
import { createConfigChange } from './config-change.js';
import { createHostControl } from './control.js';
import { createFrontDoor } from './front-door.js';
import { createHealthBook } from './health-book.js';
import { createKept } from './kept.js';
import { createLifecycle } from './lifecycle.js';
import { createLifecycleEvents } from './lifecycle-events.js';
import { createLogBook } from './log-book.js';
import { createLogFiles } from './log-files.js';
import { createTellMined } from './mined.js';
import { createNodeEventPublisher } from './node-events.js';
import { createNodeLink } from './node-link.js';
import { createNodeWatch } from './node-status.js';
import { createObservations } from './observation.js';
import { assertOptions, type HostOptions, type ModuleSettings, withRealDirectories } from './options.js';
import type { HostParts } from './parts.js';
import { createSessionFacts } from './session-facts.js';
import { createSessionServices } from './session-services.js';
import { createSettingsBook } from './settings-book.js';
import type { LoadOutcome } from './shelf.js';
import { sweepSpawns } from './sweep-spawns.js';
import { createSwitches, SWITCHES_FILE } from './switches.js';
import { createUpkeep } from './upkeep.js';
import { readHostVersion } from './version.js';

/** How leftovers are removed: whatever is below, and without complaint when they are gone. */
const REMOVED_WHOLE = { recursive: true, force: true } as const;
/** Time that modules have to react to NodeShutdown before they are stopped. */
const SHUTDOWN_NOTICE_MS = 100;
/** Time that a stop allows for the node's last calls. */
const RELEASE_TIMEOUT_MS = 2_000;
/** Time that a stop allows for the node's adapter to end its connections; it needs milliseconds. */
const NODE_STOP_TIMEOUT_MS = 5_000;

/** A host of modules, inside a daemon or any other program. */
export interface Host extends AsyncDisposable {
  /**
   * Opens the operator's socket, tries the sandbox, connects the node. A node that is not there yet, or warms up, is waited
   * for in the background: the host runs, its status says so, and calls to the node answer NODE_UNAVAILABLE. Modules start
   * by `autoLoad` or `load`.
   *
   * @throws HostError ALREADY_RUNNING, UNSAFE_RUN_DIR, UNSAFE_DATA_DIR, SOCKET_PATH_TOO_LONG, SANDBOX_UNAVAILABLE, NODE_AUTH,
   *   BAD_CONFIG; HOST_STOPPING when it was stopped meanwhile
   */
  start(): Promise<void>;
  /**
   * Loads every enabled module of the modules directory; failures are told per module and end nothing. Waits until the
   * node was reached, so that no module has to cope with a node that starts later than the host; `load` does not wait.
   */
  autoLoad(): Promise<LoadOutcome[]>;
  /**
   * Loads one module and waits until it is Ready. Fails with what the first attempt failed with; what a further one may cure is
   * started again by itself after a while, until `unload` ends that.
   */
  load(name: string): Promise<ModuleStatus>;
  /** Stops and removes one module; `cascade` takes those that need it along. */
  unload(name: string, options?: { cascade?: boolean }): Promise<string[]>;
  reload(name: string): Promise<ModuleStatus>;
  list(): ModuleStatus[];
  /** Delivered, dropped, failed and queued events per module: the founding document's `get_delivery_stats()`. */
  getDeliveryStats(): ModuleDelivery[];
  /** Events as they are published, in this process. */
  events(options?: ListenOptions): AsyncIterableIterator<HeardEvent>;
  /** Takes a permission back from a running module: its streams that need it end at once. */
  withdraw(name: string, permission: Parameters<typeof permissionNumber>[0]): void;
  /**
   * Replaces what the operator says of one module and hands its configuration over if it runs; what became of that, as
   * `control.applyConfig` tells it for a whole file. Nothing when nothing has changed.
   */
  configure(name: string, settings: ModuleSettings): Promise<ConfigChange[]>;
  /** Everything that the operator's edges may ask. */
  readonly control: HostControl;
  /** Path of the operator's socket. */
  readonly adminSocket: string;
  /** Stops modules, dependents first, then the node. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Makes a host; nothing happens before `start`. It sets no signal handler, changes no global and never ends the process,
 * so several can live in one program, each with directories of its own.
 *
 * @throws HostError BAD_CONFIG
 */
export function createHost(given: HostOptions): Host {
  assertOptions(given);
  const options = withRealDirectories(given);
  const clock = options.clock ?? createSystemClock();
  const logFiles = options.logDir === undefined ? undefined : createLogFiles(options.logDir, clock);
  const logBook = createLogBook(options.logger ?? createSilentLogger(), clock, logFiles?.line);
  const log = logBook.host;
  const registry = createContractRegistry();
  const methods = readMethods(registry);
  const statuses = createStatusMapper(readErrorTable(registry));
  const wire = createStrictWire(registry);
  const catalogue = readEventTypes(registry);
  const audit = createAudit(clock, logFiles?.audit);
  const settings = createSettingsBook(options);
  const observations = createObservations(clock);
  const hub = createEventHub({ clock, log, catalogue });
  const lifecycleEvents = createLifecycleEvents(hub);
  const { node } = options;
  const maxNodeCalls = options.maxNodeCalls ?? node.maxCallsInFlight;
  const link = createNodeLink({
    connect: (signal) =>
      node.start((event) => {
        nodeWatch.offer(event);
        templates.offer(event);
        nodeEvents.listener(event);
        // a node that was restarted has forgotten what modules deny
        if (event.type === 'NodeConnection' && event.up) resendDenylists();
      }, signal),
    async onReached() {
      await nodeWatch.refresh(end.signal);
      lifecycleEvents.nodeStartupCompleted(clock.unixMs() - startedUnixMs, ['node', 'sandbox', 'admin', 'events']);
    },
    log,
    random: Math.random,
  });
  const budget = createNodeBudget(node, maxNodeCalls, link.assertReached);
  const blockFacts = createBlockFacts();
  const nodeEvents = createNodeEventPublisher({ hub, node, clock, facts: blockFacts, log });
  const nodeWatch = createNodeWatch(node, budget, maxNodeCalls ?? 0, clock, link.obstacle);
  const templates = createTemplateWatch(node);
  const denylists = createServeDenylists(node);
  const version = readHostVersion();
  const isStopping = (): boolean => stopped !== undefined;
  const startedUnixMs = clock.unixMs();
  const end = new AbortController();
  const adminSocket = join(options.socketDir, ADMIN_SOCKET);
  const tellMined = createTellMined(node, nodeEvents, log, end.signal);

  let reserved: ReservedSocket | undefined;
  let admin: AdminServer | undefined;
  let groups: ResourceGroups | undefined;
  let running: Promise<{ lifecycle: ReturnType<typeof createLifecycle>; control: HostControl }> | undefined;
  let started: { lifecycle: ReturnType<typeof createLifecycle>; control: HostControl } | undefined;
  let stopped: Promise<void> | undefined;

  const kept = createKept({ options, clock, log, hub, audit, wire, lifecycle: () => started?.lifecycle });
  const upkeep = createUpkeep({ options, clock, log, hub, nodeWatch, jobs: kept.upkeep });
  const { endpoints } = kept;
  const frontDoor = createFrontDoor({ options, endpoints, budget, registry, clock, log, isStopping });
  const parts: HostParts = {
    kept,
    settings,
    observations,
    switches: createSwitches(join(options.dataDir, SWITCHES_FILE)),
    options,
    version,
    clock,
    log,
    logBook,
    lifecycleEvents,
    eventLimits: DEFAULT_EVENT_LIMITS,
    callsPerSecond: options.callsPerSecond ?? DEFAULT_CALL_RATE,
    resolver: options.resolver ?? createNameResolver(clock),
    spawnRoom: { socketDir: options.socketDir, methods, statuses, wire, clock, audit },
    serve(session, module) {
      const port = budget.forModule(session.identity.moduleId);
      return createSessionServices(session, {
        facts: createSessionFacts({ version, methods, nodeWatch }, module, session),
        kept: kept.serve(session, module),
        log: module.running.log.sink('RECORD'),
        health: createHealthBook(module.running, () => started?.lifecycle),
        node: port,
        denylists,
        templates,
        onBlockAccepted: (raw) => tellMined(raw, session.identity.moduleId),
        events: {
          hub,
          catalogue,
          reader: createChainReader(port, blockFacts, clock),
          limits: DEFAULT_EVENT_LIMITS,
          clock,
          random: Math.random,
          use: observations.of(session.identity.moduleId),
        },
      });
    },
    release: (moduleId) =>
      denylists.release(moduleId, AbortSignal.timeout(RELEASE_TIMEOUT_MS)).catch((err: unknown) => {
        log.warn({ module: moduleId, err }, 'the node keeps what an ended module denied until it can be told');
      }),
  };

  const configChange = createConfigChange({
    ...parts,
    audit,
    lifecycle: { slot: (name) => assertStarted().lifecycle.slot(name) },
  });

  const resendDenylists = (): void => {
    denylists.resend(AbortSignal.timeout(RELEASE_TIMEOUT_MS)).catch((err: unknown) => {
      log.warn({ err }, 'the node could not be told again what modules deny; it is told at its next connection');
    });
  };

  const begin = async () => {
    assertSocketPath(adminSocket);
    prepareDirectory(options.dataDir, 0o711, 'UNSAFE_DATA_DIR');
    prepareDirectory(join(options.dataDir, 'modules'), 0o711, 'UNSAFE_DATA_DIR');
    prepareDirectory(options.socketDir, 0o711);
    if (options.logDir !== undefined) prepareDirectory(options.logDir, 0o700, 'UNSAFE_DATA_DIR');
    // first of all: whoever has the socket may sweep, and nobody else
    reserved = await reserveSocket(adminSocket, MAX_ADMIN_CONNECTIONS);
    const killed = sweepChains(launchWord(options.socketDir));
    sweepSpawns(options.socketDir, (name) => options.modules?.[name]?.run === 'external');
    const sandbox = await openSandbox({
      layBait: createLayBait(),
      runDir: options.socketDir,
      withoutControllers: options.withoutControllers ?? [],
      run: createRunOnce(),
      logger: log,
    });
    const interpreters = defaultInterpreters(Object.entries(options.interpreters ?? {}));
    const confinement = {
      engine: sandbox.engine,
      runner: createRunner({ engine: sandbox.engine, interpreters, logger: log, clock }),
      identities: sandbox.ownUsers ? createIdentityBook(join(options.dataDir, 'users.json')) : undefined,
      groups: sandbox.groups,
      cures: sandbox.cures,
    };
    groups = sandbox.groups;
    const leftovers = killed + ((await groups?.sweep()) ?? 0);
    if (leftovers > 0) log.warn({ leftovers }, 'a host that was killed had left processes; they were killed');
    const lifecycle = createLifecycle(parts, confinement);
    const control = createHostControl({
      ...parts,
      audit,
      hub,
      lifecycle,
      catalogue,
      configChange,
      confinement,
      nodeWatch,
      upkeep,
      budget,
      frontDoor,
      maxNodeCalls: maxNodeCalls ?? 0,
      ended: end.signal,
      startedUnixMs,
      isStopping,
      requestStop: options.onStopRequested ?? (() => void host.stop()),
    });
    lifecycleEvents.configLoaded(Object.keys(options.modules ?? {}).map((name) => `modules.${name}`));
    admin = createAdminServer({ socket: reserved, control, statuses, registry, log });
    await frontDoor.open(control);
    upkeep.start();
    await link.open(end.signal);
    return { lifecycle, control };
  };

  const assertStarted = () => {
    if (stopped !== undefined) throw new HostError('HOST_STOPPING', 'the host is stopping');
    if (started === undefined) throw new HostError('INVALID_REQUEST', 'the host has not started; await start() first');
    return started;
  };
  const statusOf = (name: string): ModuleStatus => {
    const found = assertStarted()
      .control.list()
      .find((module) => module.name === name);
    if (found === undefined) throw new HostError('MODULE_NOT_FOUND', `no module ${name}`);
    return found;
  };

  const stopAll = async (): Promise<void> => {
    const stoppedAt = clock.monotonicMs();
    const over = new HostError('HOST_STOPPING', 'the host is stopping');
    // a start that is under way would otherwise be waited for as long as the node warms up
    if (started === undefined || link.obstacle() !== undefined) end.abort(over);
    const present = started ?? (await running?.catch(() => undefined));
    lifecycleEvents.nodeShutdown('GRACEFUL', SHUTDOWN_NOTICE_MS);
    upkeep.shutdown(SHUTDOWN_NOTICE_MS);
    const isHeard = present?.lifecycle.slots().some(({ running: spawned }) => spawned?.started) ?? false;
    if (isHeard) await delay(SHUTDOWN_NOTICE_MS);
    /** Each step is taken, whatever became of the one before. */
    const step = async (what: string, work: () => unknown): Promise<void> => {
      try {
        await work();
      } catch (err) {
        log.error({ what, err }, 'a part of the host did not stop as it should');
      }
    };
    const nodeLate = (): HostError =>
      new HostError('DEADLINE_EXCEEDED', `it took longer than ${NODE_STOP_TIMEOUT_MS} ms`);
    await step('modules', () => present?.lifecycle.stopAll());
    await step('front door', () => frontDoor.close());
    await step('upkeep', () => upkeep.stop());
    await step('kept', () => kept.close());
    await step('events', () => hub.close());
    end.abort(over);
    await step('node', () => inTime(node.stop(), NODE_STOP_TIMEOUT_MS, nodeLate));
    lifecycleEvents.nodeShutdownCompleted(clock.monotonicMs() - stoppedAt);
    await step('events', () => hub.end());
    audit.flush();
    audit.entries.close();
    logBook.lines.close();
    await step('log files', () => logFiles?.close());
    await step('admin', () => admin?.close() ?? reserved?.close());
    await step('control groups', () => groups?.close());
    // nothing of a stopped host stays in its socket directory; only who held the directory may clear it
    if (reserved !== undefined) await step('files', () => rmSync(join(options.socketDir, ETC_DIR), REMOVED_WHOLE));
  };

  const host: Host = {
    adminSocket,
    get control() {
      return assertStarted().control;
    },
    async start() {
      if (stopped !== undefined) throw new HostError('HOST_STOPPING', 'a host that was stopped cannot start again');
      running ??= begin();
      try {
        const present = await running;
        if (stopped !== undefined) throw new HostError('HOST_STOPPING', 'the host was stopped while it started');
        started = present;
      } catch (error) {
        await host.stop();
        throw HostError.from(error);
      }
    },
    async autoLoad() {
      const { lifecycle } = assertStarted();
      await link.reached(end.signal);
      return lifecycle.autoLoad();
    },
    async load(name) {
      await assertStarted().lifecycle.load(name);
      return statusOf(name);
    },
    unload: async (name, { cascade = false } = {}) => assertStarted().lifecycle.unload(name, cascade),
    async reload(name) {
      await assertStarted().lifecycle.reload(name);
      return statusOf(name);
    },
    list: () => assertStarted().control.list(),
    getDeliveryStats: () => hub.getDeliveryStats(),
    events: (listen) => hub.listen(listen),
    withdraw(name, permission) {
      const slot = assertStarted().lifecycle.slot(name);
      if (slot === undefined) throw new HostError('MODULE_NOT_FOUND', `no module ${name}`);
      slot.running?.spawn.session.grants.withdraw(permission);
      audit.record({ kind: 'PERMISSION_WITHDRAWN', moduleId: name, permissions: [permission] });
    },
    async configure(name, settings) {
      assertStarted();
      return configChange.configure(name, settings);
    },
    stop() {
      stopped ??= stopAll();
      return stopped;
    },
    [Symbol.asyncDispose]: () => host.stop(),
  };
  return host;
}
