import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HealthReport } from '../../gen/ts/modhost/v1/health.js';
import { StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { type ErrorReason, HostError } from '../contract/error.js';
import type { MethodFacts } from '../contract/methods.js';
import type { StrictWire } from '../contract/strict-wire.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { GuardDecision } from '../ipc/guard.js';
import { createModuleServer, type ModuleServer, type Served } from '../ipc/server.js';
import { emptyDirectory, type Owner, prepareDirectory } from '../ipc/socket.js';
import type { StatusMapper } from '../ipc/status.js';
import { diagnoseExit, diagnoseTimeout, type SocketFacts } from '../process/diagnose.js';
import type { ExitReport } from '../process/exit.js';
import type { RunningProcess } from '../process/running-process.js';
import type { Grants } from '../session/grants.js';
import type { CallQuota } from '../session/quota.js';
import {
  createSession,
  type HandshakeClaims,
  MAX_TOKEN_MISSES,
  type Session,
  type SessionIdentity,
  TOKEN_BYTES,
} from '../session/session.js';
import type { Audit } from './audit.js';
import { createDeadline } from './deadline.js';
import { halt } from './halt.js';
import { type ProbeMode, probeModule } from './probe.js';

/** Name of the socket inside a spawn's directory; the directory's name is short, so that the whole path stays short. */
export const SOCKET_NAME = 'host.sock';
/** Name of the token's file inside a spawn's directory. */
export const TOKEN_NAME = 'token';
/** Bytes of randomness in a spawn's name. */
const INSTANCE_BYTES = 4;
/** Reasons of services for which a module reached for what is not its own: as worth an entry as what the guard refuses. */
const TRESPASSES: ReadonlySet<ErrorReason> = new Set(['PATH_ESCAPE', 'MISSING_PERMISSION', 'CALLER_NOT_ALLOWED']);
/** After the process has ended, how long its last calls may take to leave the socket. */
const DRAIN_MS = 100;
/** An external module without any connection for this long has ended; a reconnect takes less. */
const EXTERNAL_GONE_MS = 5_000;
/** When an external module's session is closed, how long its streams may take to end. */
const EXTERNAL_DRAIN_MS = 1_000;

/** What every spawn of a host shares. */
export interface SpawnRoom {
  socketDir: string;
  methods: ReadonlyMap<string, MethodFacts>;
  statuses: StatusMapper;
  wire: StrictWire;
  clock: Clock;
  audit: Audit;
}

/** What one spawn is made of. */
export interface SpawnOptions {
  moduleId: string;
  version: string;
  grants: Grants;
  quota: CallQuota;
  /** Uid and gid of the module's process; undefined when it has the host's own. */
  owner: Owner | undefined;
  startTimeoutMs: number;
  stopTimeoutMs: number;
  log: Logger;
  /** Takes the module's secrets out of its own words. */
  redact(text: string): string;
  /** The services of this session. */
  serve(session: Session): readonly Served[];
  /** Starts the process; undefined for a module that somebody else starts. */
  launch: ((paths: SpawnPaths) => Promise<RunningProcess>) | undefined;
  onDecision(decision: GuardDecision): void;
  /** A call that the guard let pass has failed. */
  onFailed(): void;
  onOpened(claims: HandshakeClaims): void;
  onStarting(percent: number, message: string): void;
}

/** Where a spawn's socket and token lie, seen from the host. */
export interface SpawnPaths {
  instanceId: string;
  dir: string;
  socketPath: string;
  tokenPath: string;
}

/** How a spawn ended. */
export interface SpawnEnd {
  /** True when the host asked for it. */
  expected: boolean;
  /** How the process ended; undefined for an external module. */
  exit: ExitReport | undefined;
  /** Why, when it was not expected. */
  error: HostError | undefined;
}

/** One start of a module: its directory, socket, session, server and process. */
export interface Spawn extends SpawnPaths {
  readonly session: Session;
  readonly process: RunningProcess | undefined;
  readonly startedUnixMs: number;
  connectionCount(): number;
  /** Resolves at Ready; rejects when the spawn ends before. */
  readonly ready: Promise<void>;
  /** Resolves once everything of the spawn is gone: process, socket, directory. */
  readonly ended: Promise<SpawnEnd>;
  /**
   * Asks the module to stop, waits its grace, kills it, and clears away. Idempotent: the first reason is told.
   *
   * @param reason default UNLOAD
   */
  stop(reason?: StopReason): Promise<SpawnEnd>;
  /**
   * Ends the spawn from within; `error` becomes its end's, unless it was asked to stop or failed before. Without a grace
   * its calls are refused and its processes killed at once; with one it is asked to stop for reasons of policy.
   *
   * @param graceMs default 0
   */
  fail(error: HostError, graceMs?: number): void;
  /**
   * Asks the module whether it lives.
   *
   * @param mode default `invocation`, which falls back to PING as long as the module serves none
   * @returns    what it says of itself; undefined when it lives and says nothing
   * @throws     HostError DEADLINE_EXCEEDED for a missed probe; what ended the session when that is over
   */
  probe(timeoutMs: number, mode?: ProbeMode): Promise<HealthReport | undefined>;
}

/**
 * Starts one spawn. The socket listens and the token lies there before the process begins; whatever fails, nothing is
 * left behind.
 *
 * @throws HostError START_FAILED, INTERPRETER_MISSING, SANDBOX_UNAVAILABLE, SOCKET_PATH_TOO_LONG, UNSAFE_RUN_DIR
 */
export async function createSpawn(room: SpawnRoom, options: SpawnOptions): Promise<Spawn> {
  const suffix = randomBytes(INSTANCE_BYTES).toString('hex');
  const external = options.launch === undefined;
  // who starts a module from outside mounts its directory, so that path stays the same from spawn to spawn
  const dir = join(room.socketDir, external ? `x-${options.moduleId}` : suffix);
  const paths: SpawnPaths = {
    instanceId: `${options.moduleId}-${suffix}`,
    dir,
    socketPath: join(dir, SOCKET_NAME),
    tokenPath: join(dir, TOKEN_NAME),
  };
  const identity: SessionIdentity = {
    moduleId: options.moduleId,
    instanceId: paths.instanceId,
    version: options.version,
  };
  const note = { moduleId: identity.moduleId, instanceId: identity.instanceId };
  const token = randomBytes(TOKEN_BYTES);
  let server: ModuleServer | undefined;
  let child: RunningProcess | undefined;
  let stopping = false;
  let opened = false;
  let failure: HostError | undefined;

  let markReady: () => void = () => {};
  let failReady: (error: HostError) => void = () => {};
  const ready = new Promise<void>((resolve, reject) => {
    markReady = resolve;
    failReady = reject;
  });
  ready.catch(() => {});

  let connections = 0;
  let called = false;
  let refused: HostError | undefined;
  let isReady = false;
  let lastStarting = '';
  const socketFacts = (): SocketFacts => ({
    connections,
    called,
    refused,
    opened,
    ready: isReady,
    starting: lastStarting,
  });
  const startDeadline = createDeadline(room.clock, options.startTimeoutMs, () =>
    fail(diagnoseTimeout(options.moduleId, options.startTimeoutMs, socketFacts(), child?.stderrTail() ?? '')),
  );
  const session = createSession({
    identity,
    token,
    grants: options.grants,
    quota: options.quota,
    clock: room.clock,
    log: options.log,
    listener: {
      opened(claims) {
        opened = true;
        refused = undefined;
        rmSync(paths.tokenPath, { force: true });
        if (external) startDeadline.begin();
        room.audit.record({ kind: 'SESSION_OPENED', ...note, permissions: options.grants.list() });
        options.onOpened(claims);
      },
      starting(percent, message) {
        startDeadline.extend();
        lastStarting = options.redact(message);
        options.onStarting(percent, message);
      },
      ready() {
        startDeadline.clear();
        isReady = true;
        markReady();
      },
      refused(error) {
        called = true;
        if (!opened) refused = error;
      },
      suspicious(misses) {
        if (misses === MAX_TOKEN_MISSES) {
          options.log.error({ misses }, 'wrong tokens on the module socket; its connections are closed');
        }
        room.audit.record({
          kind: 'HANDSHAKE_REFUSED',
          ...note,
          reason: 'BAD_TOKEN',
          message: `${MAX_TOKEN_MISSES} wrong tokens or more`,
        });
        // the answer to the last handshake leaves first
        setTimeout(() => server?.dropConnections(), DRAIN_MS).unref();
      },
    },
  });

  /** What is under way to stop it. */
  let halting: Promise<void> | undefined;
  const stopBy = (reason: StopReason, graceMs: number): Promise<void> => {
    startDeadline.clear();
    session.invocations.retire();
    const subject = { invocations: session.invocations, process: child, clock: room.clock, log: options.log };
    halting ??= halt(subject, reason, graceMs).then(() => (external ? clearAway(undefined) : undefined));
    return halting;
  };
  const fail = (error: HostError, graceMs = 0): void => {
    failure ??= error;
    if (graceMs > 0 && session.state() !== 'closed') {
      void stopBy(StopReason.POLICY, graceMs);
      return;
    }
    session.close(failure);
    if (child !== undefined) void child.kill();
    // a process that is just being started is killed as soon as it can be
    else if (external) void clearAway(undefined);
  };

  let settleEnd: (end: SpawnEnd) => void = () => {};
  const ended = new Promise<SpawnEnd>((resolve) => {
    settleEnd = resolve;
  });
  let clearing: Promise<void> | undefined;
  const clearAway = (exit: ExitReport | undefined): Promise<void> => {
    clearing ??= (async () => {
      startDeadline.clear();
      gone.clear();
      // a stop that is asked for from here on comes too late to have been the cause
      const expected = stopping;
      const error = expected ? undefined : (failure ?? (exit && diagnoseExit(options.moduleId, exit, socketFacts())));
      failReady(error ?? new HostError('SESSION_CLOSED', 'the module was stopped before it was ready'));
      session.close(new HostError('SESSION_CLOSED', expected ? 'the module was stopped' : 'the module has ended'));
      if (opened) room.audit.record({ kind: 'SESSION_CLOSED', ...note });
      await server?.close(external ? EXTERNAL_DRAIN_MS : DRAIN_MS);
      // a container may have an external module's directory mounted: it stays, and the next offer is found in it
      if (external) emptyDirectory(dir);
      else rmSync(dir, { recursive: true, force: true });
      settleEnd({ expected, exit, error });
    })();
    return clearing;
  };

  const gone = createDeadline(room.clock, EXTERNAL_GONE_MS, () =>
    fail(new HostError('MODULE_CRASHED', `${options.moduleId} closed its last connection`)),
  );
  try {
    if (!external) startDeadline.begin();
    // the parent is passed through by modules of other uids, the spawn's own directory belongs to its module
    prepareDirectory(dir, 0o700);
    if (options.owner !== undefined) chownSync(dir, options.owner.uid, options.owner.gid);
    server = await createModuleServer({
      socketPath: paths.socketPath,
      owner: options.owner,
      session,
      services: options.serve(session),
      methods: room.methods,
      statuses: room.statuses,
      wire: room.wire,
      onConnections(count) {
        if (count > connections) connections = count;
        if (!external || clearing !== undefined || session.state() === 'waiting') return;
        if (count === 0) gone.begin();
        else gone.clear();
      },
      clock: room.clock,
      log: options.log,
      audit: (decision) => {
        called = true;
        options.onDecision(decision);
        if (decision.allowed) return;
        const denied = decision.reason === 'MISSING_PERMISSION' || decision.reason === 'HANDSHAKE_REQUIRED';
        room.audit.record({
          kind: denied ? 'CALL_DENIED' : 'LIMITED',
          ...note,
          method: decision.method,
          ...(decision.permission === 'NONE' ? {} : { permissions: [decision.permission] }),
          ...(decision.reason === undefined ? {} : { reason: decision.reason }),
        });
      },
      onFailed({ path, permission }, { reason }) {
        // what the module itself gave up, or its own end, is no failure of a call
        if (reason === 'CANCELLED' || session.ended.aborted) return;
        options.onFailed();
        if (!TRESPASSES.has(reason)) return;
        room.audit.record({
          kind: 'CALL_DENIED',
          ...note,
          method: path,
          reason,
          ...(permission === 'NONE' ? {} : { permissions: [permission] }),
        });
      },
    });
    writeToken(paths.tokenPath, token, options.owner);
    child = await options.launch?.(paths);
    if (failure !== undefined) throw failure as HostError;
  } catch (error) {
    failure ??= HostError.from(error);
    await clearAway(await child?.kill());
    throw failure;
  }
  void child?.exited.then((exit) => clearAway(exit));

  return {
    ...paths,
    session,
    process: child,
    startedUnixMs: room.clock.unixMs(),
    connectionCount: () => server?.connectionCount() ?? 0,
    ready,
    ended,
    async stop(reason = StopReason.UNLOAD) {
      // one that has failed already is not stopped as asked
      stopping ||= failure === undefined;
      await stopBy(reason, options.stopTimeoutMs);
      return ended;
    },
    fail,
    probe: (timeoutMs, mode = 'invocation') =>
      probeModule(
        {
          moduleId: options.moduleId,
          invocations: session.invocations,
          ended: session.ended,
          ping: (ms) => server?.ping(ms) ?? Promise.resolve(true),
        },
        room.clock,
        timeoutMs,
        mode,
      ),
  };
}

function writeToken(path: string, token: Uint8Array, owner: Owner | undefined): void {
  writeFileSync(path, token, { mode: 0o400, flag: 'wx' });
  chmodSync(path, 0o400);
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
}
