import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventServiceService } from '../../gen/ts/modhost/event/v1/event_service.js';
import { ChainServiceService } from '../../gen/ts/modhost/v1/chain.js';
import { InvocationServiceService } from '../../gen/ts/modhost/v1/invocation.js';
import { LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import { MempoolServiceService } from '../../gen/ts/modhost/v1/mempool.js';
import { ModuleServiceService } from '../../gen/ts/modhost/v1/module.js';
import { Limits, SessionServiceService } from '../../gen/ts/modhost/v1/session.js';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { HostError } from '../../src/contract/error.js';
import { readErrorTable } from '../../src/contract/error-table.js';
import { readEventTypes } from '../../src/contract/event-type.js';
import { readMethods } from '../../src/contract/methods.js';
import type { Permission } from '../../src/contract/permission.js';
import { createStrictWire } from '../../src/contract/strict-wire.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createBlockFacts } from '../../src/events/block-facts.js';
import type { ChainReader } from '../../src/events/chain-reader.js';
import { createEventHub, type EventHub } from '../../src/events/hub.js';
import { createChainReader } from '../../src/host/chain-reader.js';
import { createNodeEventPublisher } from '../../src/host/node-events.js';
import { createModuleServer, type ModuleServer } from '../../src/ipc/server.js';
import { createStatusMapper } from '../../src/ipc/status.js';
import { createDevchain, type Devchain } from '../../src/node/devchain/devchain.js';
import type { NodeListener } from '../../src/node/node-api.js';
import { type ConnectOptions, connect, type Module } from '../../src/sdk/connect.js';
import { createChainService } from '../../src/services/chain.js';
import { createEventService, DEFAULT_EVENT_LIMITS } from '../../src/services/event.js';
import { createInvocationService } from '../../src/services/invocation.js';
import { createLogService, type ModuleLogLine } from '../../src/services/log.js';
import { createMempoolService } from '../../src/services/mempool.js';
import { createModuleService } from '../../src/services/module.js';
import { createSessionService } from '../../src/services/session.js';
import { type CallRouter, createCallRouter } from '../../src/session/calls.js';
import { createGrants, type Grants } from '../../src/session/grants.js';
import { createCallQuota } from '../../src/session/quota.js';
import { createSession, type Session } from '../../src/session/session.js';

const registry = createContractRegistry();
const METHODS = readMethods(registry);
const WIRE = createStrictWire(registry);
const ERRORS = readErrorTable(registry);
const CATALOGUE = readEventTypes(registry);
const CLOCK = createSystemClock();
const LOG = createSilentLogger();
const TOKEN = new Uint8Array(32).fill(9);
export const VERSION = '1.2.3';
export const ALL: readonly Permission[] = ['SUBSCRIBE_EVENTS', 'READ_BLOCKCHAIN', 'READ_CHAIN_STATE'];

/** One life of a host's end: session, hub and server on the socket. */
export interface Life {
  session: Session;
  grants: Grants;
  hub: EventHub;
  server: ModuleServer;
  /** What the module offers and calls. */
  calls: CallRouter;
  readies: number;
  startings: string[];
}

/** A devchain behind the host's real services on a real socket, and what a module finds in its environment. */
export interface SdkRig {
  readonly node: Devchain;
  readonly env: Record<string, string>;
  readonly lines: ModuleLogLine[];
  /** The present life of the host's end. */
  readonly life: Life;
  /** Changes of the walk's view of the chain, for what a devchain cannot be. */
  readonly reader: Partial<ChainReader>;
  connect(options?: Partial<ConnectOptions>): Promise<Module>;
  /** Ends the host's end without a word, as a crash does. */
  crash(): Promise<void>;
  /** Begins another on the same socket path, which has forgotten the session. */
  revive(): Promise<void>;
  dispose(): Promise<void>;
}

export interface SdkRigOptions {
  permissions?: readonly Permission[];
  configJson?: string;
  limits?: Partial<Limits>;
  callsPerSecond?: number;
  /** Name and version that the host expects. */
  identity?: { moduleId: string; version: string };
}

/** Makes a rig whose chain has two blocks. */
export async function createSdkRig(options: SdkRigOptions = {}): Promise<SdkRig> {
  const dir = mkdtempSync(join(tmpdir(), 'mhs-'));
  const socketPath = join(dir, 's');
  const tokenFile = join(dir, 'token');
  const lines: ModuleLogLine[] = [];
  const { moduleId, version } = options.identity ?? { moduleId: 'probe', version: VERSION };
  const node = createDevchain({ clock: CLOCK, logger: LOG });
  const modules: Module[] = [];
  const reader: Partial<ChainReader> = {};
  let listener: NodeListener = () => {};
  await node.start((event) => listener(event), new AbortController().signal);
  await node.control.mine(2);

  const begin = async (): Promise<Life> => {
    writeFileSync(tokenFile, TOKEN);
    const hub = createEventHub({ clock: CLOCK, log: LOG, catalogue: CATALOGUE });
    const facts = createBlockFacts();
    listener = createNodeEventPublisher({ hub, node, clock: CLOCK, facts, log: LOG }).listener;
    const grants = createGrants(options.permissions ?? ALL);
    const rate = options.callsPerSecond ?? 1e6;
    const session = createSession({
      identity: { moduleId, instanceId: 'probe-1', version },
      token: TOKEN,
      grants,
      quota: createCallQuota({ ratePerSecond: rate, burst: rate, maxInFlight: 128 }, CLOCK),
      listener: {
        opened: () => rmSync(tokenFile, { force: true }),
        starting: (percent, message) => void life.startings.push(`${percent} ${message}`),
        ready: () => {
          life.readies += 1;
        },
        suspicious: () => server.dropConnections(),
      },
      clock: CLOCK,
      log: LOG,
    });
    const calls = createCallRouter({ names: () => [], find: () => undefined });
    const real = createChainReader(node, facts, CLOCK);
    const server = await createModuleServer({
      socketPath,
      session,
      services: [
        {
          definition: SessionServiceService,
          impl: createSessionService(session, {
            context: () => ({ ...CONTEXT, limits: Limits.create({ maxMessageBytes: 4_194_304, ...options.limits }) }),
            configJson: () => options.configJson ?? '{}',
            readyWithinMs: () => 60_000,
          }),
        },
        {
          definition: LogServiceService,
          impl: createLogService({
            write(line) {
              lines.push(line);
              return true;
            },
          }),
        },
        { definition: InvocationServiceService, impl: createInvocationService(session) },
        {
          definition: ModuleServiceService,
          impl: createModuleService(session, { book: NOBODY, calls, declared: { methods: [], allowedCallers: [] } }),
        },
        { definition: ChainServiceService, impl: createChainService({ node }) },
        { definition: MempoolServiceService, impl: createMempoolService({ node }) },
        {
          definition: EventServiceService,
          impl: createEventService(session, {
            hub,
            catalogue: CATALOGUE,
            reader: changed(real, reader),
            limits: DEFAULT_EVENT_LIMITS,
            clock: CLOCK,
            random: Math.random,
          }),
        },
      ],
      methods: METHODS,
      statuses: createStatusMapper(ERRORS),
      wire: WIRE,
      clock: CLOCK,
      log: LOG,
      audit: () => {},
    });
    const life: Life = { session, grants, hub, server, calls, readies: 0, startings: [] };
    return life;
  };

  let life = await begin();
  const rig: SdkRig = {
    node,
    env: {
      MODHOST_SOCKET: socketPath,
      MODHOST_TOKEN_FILE: tokenFile,
      MODHOST_MODULE_ID: moduleId,
      MODHOST_INSTANCE_ID: 'probe-1',
      MODHOST_DATA_DIR: dir,
    },
    lines,
    get life() {
      return life;
    },
    reader,
    async connect(more = {}) {
      const module = await connect({ version: VERSION, env: rig.env, ...more });
      modules.push(module);
      return module;
    },
    async crash() {
      life.server.dropConnections();
      await life.server.close(0);
      life.hub.close();
    },
    async revive() {
      life = await begin();
    },
    async dispose() {
      for (const module of modules) await module.close();
      life.session.close(new HostError('SESSION_CLOSED', 'the test is over'));
      await life.server.close(0);
      await node.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return rig;
}

/** The reader, with what the test has put in its place at the moment of each call. */
function changed(real: ChainReader, changes: Partial<ChainReader>): ChainReader {
  return {
    hashAt: (...args) => (changes.hashAt ?? real.hashAt)(...args),
    block: (...args) => (changes.block ?? real.block)(...args),
    blocks: (...args) => (changes.blocks ?? real.blocks)(...args),
    tip: (...args) => (changes.tip ?? real.tip)(...args),
    sync: (...args) => (changes.sync ?? real.sync)(...args),
    pruneHeight: (...args) => (changes.pruneHeight ?? real.pruneHeight)(...args),
  };
}

/** The module is alone at this host. */
const NOBODY = { names: () => [], describe: () => undefined, availability: () => undefined };

const CONTEXT = {
  moduleId: 'probe',
  instanceId: 'probe-1',
  protocolVersion: 1,
  hostVersion: '0.1.0',
  nodeKind: 'devchain',
  nodeVersion: '',
  network: 'regtest',
  granted: [],
  withheld: [],
  containment: [],
  services: [],
  external: false,
};
