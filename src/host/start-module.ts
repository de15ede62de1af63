import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_SANDBOX_MINIMUM } from '../contract/guarantee.js';
import { PERMISSIONS, type Permission } from '../contract/permission.js';
import { createRedactor } from '../core/redactor.js';
import type { ModuleConfig } from '../manifest/config.js';
import type { Manifest } from '../manifest/manifest.js';
import type { Runner } from '../process/runner.js';
import { createWatch } from '../process/watch.js';
import { boundedBy } from '../sandbox/containment.js';
import type { SandboxEngine } from '../sandbox/engine.js';
import type { ResourceGroup, ResourceGroups } from '../sandbox/group.js';
import { externalContainment } from '../sandbox/guarantee.js';
import type { IdentityBook } from '../sandbox/identity.js';
import { effectiveLimits, type SomeLimits } from '../sandbox/limits.js';
import { assertMinimum } from '../sandbox/minimum.js';
import type { Sandbox } from '../sandbox/open.js';
import { storageQuotaMb } from '../services/storage/limits.js';
import { createGrants } from '../session/grants.js';
import { createCallQuota, DEFAULT_CALL_BURST, DEFAULT_CALLS_IN_FLIGHT } from '../session/quota.js';
import { sessionLimits } from './facts.js';
import { LOG_BYTES_PER_SECOND } from './log-book.js';
import { secretTexts } from './module-config.js';
import type { ModuleHealth } from './module-health.js';
import { type NetworkedStart, planModuleNetwork } from './module-network.js';
import { watchSpawn } from './module-watch.js';
import { observeSpawn } from './observation-report.js';
import { observedServices } from './observed-services.js';
import type { HostParts } from './parts.js';
import { redactedProcess } from './redacted-process.js';
import type { Running, Slot } from './slot.js';
import { createSpawn, SOCKET_NAME, TOKEN_NAME } from './spawn.js';

/** How a module's process is confined and started on this machine. */
export interface Confinement {
  engine: SandboxEngine;
  runner: Runner;
  /** Undefined where the host is not root: modules have the host's own user. */
  identities: IdentityBook | undefined;
  /** Undefined where the host can make no control groups. */
  groups?: ResourceGroups | undefined;
  /** What would help where a guarantee does not hold. */
  cures: Sandbox['cures'];
}

/** Starts one spawn of a module that may run: its limits, grants, directories, socket and process. */
export type ModuleStart = (slot: Slot, config: ModuleConfig, hooks: StartHooks) => Promise<Running>;

/** What the starter asks of who supervises the spawn. */
export interface StartHooks {
  /** Makes the health of the spawn. */
  health(running: Running): ModuleHealth;
  /** Hears that the module has shown its token. */
  opened(running: Running): void;
}

/** Makes the starter of a host. */
export function createModuleStart(parts: HostParts, confinement: Confinement): ModuleStart {
  const watch = createWatch({ clock: parts.clock, logger: parts.log, powers: confinement.groups?.powers });
  return async (slot, config, hooks) => {
    const { manifest, settings } = slot;
    const external = settings.run === 'external';
    const limits = effectiveLimits(
      manifest.limits,
      parts.options.limits as SomeLimits | undefined,
      settings.limits as SomeLimits | undefined,
    );
    const granted = grantedOf(manifest, settings.grants);
    const calls = {
      ratePerSecond: parts.callsPerSecond,
      burst: Math.max(DEFAULT_CALL_BURST, parts.callsPerSecond),
      maxInFlight: DEFAULT_CALLS_IN_FLIGHT,
    };
    if (!external) assertContained(slot.name, parts, confinement);
    const identity = external ? undefined : await confinement.identities?.identityOf(slot.name);
    const data = join(parts.options.dataDir, 'modules', slot.name);
    mkdirSync(data, { recursive: true, mode: 0o700 });
    if (identity !== undefined) chownSync(data, identity.uid, identity.gid);
    const seen = parts.observations.of(slot.name);
    const redactor = createRedactor();
    redactor.learn(secretTexts(manifest, config));
    const log = parts.logBook.forModule(slot.name, LOG_BYTES_PER_SECOND, redactor);
    const hostLog = parts.log.child({ module: slot.name });
    const network = external
      ? undefined
      : planModuleNetwork({
          manifest,
          granted: settings.network,
          settings: parts.options.network,
          engine: confinement.engine,
          resolver: parts.resolver,
          clock: parts.clock,
          log: hostLog,
          onOpened: seen.connected,
          onBroken: (error) => running.spawn?.fail(error),
        });
    const containment = external ? externalContainment() : confinement.engine.containment();
    const running: Running = {
      spawn: undefined as never,
      version: manifest.version,
      external,
      started: false,
      log,
      withheld: PERMISSIONS.filter((asked) => manifest.capabilities.includes(asked) && !granted.includes(asked)),
      containment: network?.contain(containment) ?? containment,
      network,
      limits: sessionLimits(limits, calls, parts.eventLimits, storageQuotaMb(manifest.storage.quotaMb)),
      config,
      redactor,
      sdk: '',
      readyUnixMs: 0,
      readyMonotonicMs: 0,
      health: undefined as never,
      monitor: undefined,
      watch: undefined,
      progressPercent: 0,
      progressMessage: '',
      announced: false,
      calls: { total: 0n, denied: 0n, limited: 0n, refused: 0n, failed: 0n },
    };
    let group: ResourceGroup | undefined;
    running.health = hooks.health(running);
    const spawning = createSpawn(parts.spawnRoom, {
      moduleId: slot.name,
      version: manifest.version,
      grants: createGrants(granted, seen.asked),
      quota: createCallQuota(calls, parts.clock),
      owner: identity,
      startTimeoutMs: limits.startTimeoutMs,
      stopTimeoutMs: limits.stopTimeoutMs,
      log: hostLog,
      redact: redactor.redact,
      serve: (session) => observedServices(parts.serve(session, { slot, running, external }), seen),
      onDecision(decision) {
        seen.decided(decision);
        running.calls.total += 1n;
        if (decision.allowed) return;
        if (decision.reason !== undefined) slot.errors.add(decision.reason);
        if (decision.reason === 'RATE_LIMITED' || decision.reason === 'TOO_MANY_CALLS') running.calls.limited += 1n;
        else if (decision.reason === 'MISSING_PERMISSION') running.calls.denied += 1n;
        else running.calls.refused += 1n;
      },
      onFailed() {
        running.calls.failed += 1n;
      },
      onOpened(claims) {
        running.sdk = claims.sdk;
        hooks.opened(running);
      },
      onStarting(percent, message) {
        running.progressPercent = percent;
        running.progressMessage = redactor.redact(message);
      },
      launch: external
        ? undefined
        : async (paths) => {
            const start = async (more: Partial<NetworkedStart>) => {
              // here and not earlier: from its creation on it is the runner's to remove
              group = await confinement.groups?.create(paths.instanceId, limits);
              return confinement.runner.start({
                name: slot.name,
                instanceId: paths.instanceId,
                directories: { code: slot.dir, data, socket: paths.dir },
                files: { socket: SOCKET_NAME, token: TOKEN_NAME },
                entryPoint: manifest.entryPoint,
                command: manifest.run.command,
                env: manifest.run.env,
                limits,
                identity,
                extraReadOnly: settings.extraReadOnly ?? [],
                group,
                bounded: boundedBy(confinement.groups?.powers),
                onLine: ({ stream, text }) => {
                  log.sink(stream === 'stdout' ? 'STDOUT' : 'STDERR').write({
                    level: stream === 'stdout' ? 'info' : 'warn',
                    message: text,
                    target: '',
                    timeUnixMs: 0n,
                    fields: [],
                  });
                },
                ...more,
              });
            };
            const process = await (network === undefined ? start({}) : network.launch(manifest.run.env, start));
            return redactedProcess(process, redactor);
          },
    });
    try {
      running.spawn = await spawning;
      running.watch = watchSpawn({
        ...parts,
        ...{ watch, spawn: running.spawn, group, dataDir: data, limits },
        onSample(usage) {
          seen.measured(usage, running.announced);
          seen.stored(parts.kept.status(slot).storageBytes);
        },
      });
      observeSpawn(seen, running);
    } catch (error) {
      await network?.close();
      log.close();
      throw error;
    }
    return running;
  };
}

/** What is confined by less than the operator demands does not start; the host runs on and tells. */
function assertContained(name: string, { options }: HostParts, { engine, cures }: Confinement): void {
  assertMinimum(name, options.sandboxMinimum ?? DEFAULT_SANDBOX_MINIMUM, engine.containment(), cures);
}

/** What the manifest asks and the operator grants; without a list of the operator's, all that is asked. */
export function grantedOf(manifest: Manifest, grants: readonly Permission[] | undefined): Permission[] {
  return manifest.capabilities.filter((permission) => grants === undefined || grants.includes(permission));
}
