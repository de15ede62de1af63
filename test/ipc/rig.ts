import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChannelOptions, type Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import { SessionServiceClient, SessionServiceService } from '../../gen/ts/modhost/v1/session.js';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { readErrorTable } from '../../src/contract/error-table.js';
import { readMethods } from '../../src/contract/methods.js';
import type { Permission } from '../../src/contract/permission.js';
import { createStrictWire } from '../../src/contract/strict-wire.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import type { GuardDecision } from '../../src/ipc/guard.js';
import { createModuleServer, type ModuleServer, type Served } from '../../src/ipc/server.js';
import { createStatusMapper } from '../../src/ipc/status.js';
import { createLogService, type ModuleLogLine } from '../../src/services/log.js';
import { createSessionService } from '../../src/services/session.js';
import { createGrants, type Grants } from '../../src/session/grants.js';
import { type CallQuotaOptions, createCallQuota } from '../../src/session/quota.js';
import { createSession, type Session } from '../../src/session/session.js';

/** One spawn's server on a real socket, with the session and log services and whatever a test adds. */
export interface Rig {
  socketPath: string;
  token: Uint8Array;
  session: Session;
  grants: Grants;
  server: ModuleServer;
  decisions: GuardDecision[];
  lines: ModuleLogLine[];
  suspicious: number[];
  /** Opens a channel that the rig closes. */
  client<T extends Client>(
    make: new (target: string, creds: ReturnType<typeof credentials.createInsecure>, options?: ChannelOptions) => T,
  ): T;
  /** Handshakes with the right token. */
  open(): Promise<void>;
  dispose(): Promise<void>;
}

export interface RigOptions {
  permissions?: readonly Permission[];
  services?: readonly Served[] | ((session: Session) => readonly Served[]);
  /** What answers instead of the session and log services, or of one of them. */
  replace?: readonly Served[];
  quota?: Partial<CallQuotaOptions>;
  handshakeTimeoutMs?: number;
  defaultDeadlineMs?: number;
  keepaliveMs?: number;
}

const registry = createContractRegistry();
export const METHODS = readMethods(registry);
export const WIRE = createStrictWire(registry);
export const ERRORS = readErrorTable(registry);

export async function createRig(options: RigOptions = {}): Promise<Rig> {
  const dir = mkdtempSync(join(tmpdir(), 'mh-'));
  const socketPath = join(dir, 'host.sock');
  const clock = createSystemClock();
  const token = new Uint8Array(32).fill(7);
  const grants = createGrants(options.permissions ?? []);
  const suspicious: number[] = [];
  const decisions: GuardDecision[] = [];
  const lines: ModuleLogLine[] = [];
  const session = createSession({
    identity: { moduleId: 'probe', instanceId: 'probe-1', version: '1.2.3' },
    token,
    grants,
    quota: createCallQuota({ ratePerSecond: 1e6, burst: 1e6, maxInFlight: 128, ...options.quota }, clock),
    listener: { opened() {}, starting() {}, ready() {}, suspicious: (misses) => suspicious.push(misses) },
    clock,
    log: createSilentLogger(),
  });
  const facts = {
    context: () => ({}) as never,
    configJson: () => '{}',
    readyWithinMs: () => 60_000,
  };
  const replaced = new Set(options.replace?.map(({ definition }) => definition));
  const own: Served[] = [
    { definition: SessionServiceService, impl: createSessionService(session, { ...facts, context: emptyContext }) },
    {
      definition: LogServiceService,
      impl: createLogService({
        write(line) {
          lines.push(line);
          return true;
        },
      }),
    },
  ];
  const server = await createModuleServer({
    socketPath,
    session,
    services: [
      ...own.filter(({ definition }) => !replaced.has(definition)),
      ...(options.replace ?? []),
      ...(typeof options.services === 'function' ? options.services(session) : (options.services ?? [])),
    ],
    methods: METHODS,
    statuses: createStatusMapper(ERRORS),
    wire: WIRE,
    clock,
    log: createSilentLogger(),
    audit: (decision) => decisions.push(decision),
    handshakeTimeoutMs: options.handshakeTimeoutMs,
    defaultDeadlineMs: options.defaultDeadlineMs,
    keepaliveMs: options.keepaliveMs,
  });
  const clients: Client[] = [];
  const rig: Rig = {
    socketPath,
    token,
    session,
    grants,
    server,
    decisions,
    lines,
    suspicious,
    client(make) {
      const client = new make(`unix:${socketPath}`, credentials.createInsecure(), {
        'grpc.initial_reconnect_backoff_ms': 50,
        'grpc.use_local_subchannel_pool': 1,
      });
      clients.push(client);
      return client;
    },
    async open() {
      const client = rig.client(SessionServiceClient);
      await unary((cb) =>
        client.handshake(
          {
            token,
            moduleName: 'probe',
            moduleVersion: '1.2.3',
            protocolMin: 1,
            protocolMax: 1,
            sdkName: '',
            sdkVersion: '',
          },
          cb,
        ),
      );
    },
    async dispose() {
      for (const client of clients) client.close();
      await server.close(0);
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return rig;
}

function emptyContext(): never {
  return undefined as never;
}

/** A unary call as a promise. */
export function unary<T>(call: (callback: (error: ServiceError | null, value?: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error === null ? resolve(value as T) : reject(error)));
  });
}

/** Reason trailer of a failed call, or `code N` when the status carries none. */
export async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'OK';
  } catch (error) {
    const { metadata, code } = error as ServiceError;
    return String(metadata instanceof Metadata ? (metadata.get('modhost-reason')[0] ?? `code ${code}`) : error);
  }
}
