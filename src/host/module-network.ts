import type { NetworkUse } from '../../gen/ts/modhost/admin/v1/status.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { Manifest } from '../manifest/manifest.js';
import { addressKind, parseAddress } from '../network/address-policy.js';
import type { Parties } from '../network/counters.js';
import { createGateway } from '../network/gateway.js';
import {
  grantWords,
  isEmptyGrant,
  type NetworkAllowance,
  parseEndpoint,
  type SettledNetwork,
  settleNetwork,
} from '../network/grants.js';
import { type NetworkPlan, type NetworkPolicy, type PlannedInbound, planNetwork } from '../network/plan.js';
import type { NameResolver } from '../network/resolver.js';
import { type NetworkAttachment, openNetworkAttachment } from '../process/net-attachment.js';
import { assertNetworkTools } from '../process/net-namespace.js';
import type { StartSpec } from '../process/runner.js';
import type { RunningProcess } from '../process/running-process.js';
import type { SandboxEngine } from '../sandbox/engine.js';
import type { Guarantee } from '../sandbox/guarantee.js';
import { networkPolicy } from './network-policy.js';
import type { ModuleNetworkSettings, NetworkSettings } from './options.js';

/** Everything of one spawn's network, from before its process to after its end. */
export interface ModuleNetwork {
  /** What containment says of the network of such a module, in place of the engine's own word. */
  contain(guarantees: readonly Guarantee[]): readonly Guarantee[];
  /**
   * Starts the process with its network: opened while the sandbox stands at its gate, closed before its end is told.
   *
   * @param env   the module's own variables, which stand above those of the plan
   * @param start starts it with these parts of its specification
   * @throws      HostError NETWORK_UNAVAILABLE, and what `start` throws; nothing is open then
   */
  launch(env: StartSpec['env'], start: (parts: NetworkedStart) => Promise<RunningProcess>): Promise<RunningProcess>;
  use(): NetworkUse;
  /** Idempotent. */
  close(): Promise<void>;
}

/** What a module's network adds to its start. */
export type NetworkedStart = Required<Pick<StartSpec, 'network' | 'env' | 'beforeGo'>>;

/** What the network of one spawn is made of. */
export interface ModuleNetworkOptions {
  readonly manifest: Manifest;
  readonly granted: ModuleNetworkSettings | undefined;
  readonly settings: NetworkSettings | undefined;
  readonly engine: SandboxEngine;
  /** Of the whole host. */
  readonly resolver: NameResolver;
  readonly clock: Clock;
  /** Its lines are the host's about this module. */
  readonly log: Logger;
  /** Hears who speaks with whom. */
  readonly onOpened: (parties: Parties) => void;
  /** Connections from outside cannot reach the module any more: it has to end. */
  readonly onBroken: (error: HostError) => void;
}

/**
 * Weighs what the module asks against what the operator grants and plans its network; undefined when nothing is granted.
 * What was asked and not granted, and the other way round, is told.
 *
 * @throws HostError NETWORK_UNAVAILABLE, BAD_VALUE
 */
export function planModuleNetwork(options: ModuleNetworkOptions): ModuleNetwork | undefined {
  const { manifest, log } = options;
  const { grants, withheld, unasked } = settle(manifest, options.granted);
  if (withheld.length > 0) {
    log.warn(
      { withheld },
      `${manifest.name} asks for network that the operator has not granted: ${withheld.join(', ')}`,
    );
  }
  if (unasked.length > 0) {
    log.warn(
      { unasked },
      `network granted to ${manifest.name} that it does not ask for has no effect: ${unasked.join(', ')}`,
    );
  }
  if (isEmptyGrant(grants)) return undefined;
  const policy = networkPolicy(options.settings);
  if (!canConnect(options, policy)) return undefined;
  assertNetworkTools(manifest.name);
  const plan = withAddresses(planNetwork(grants, policy), options.granted, policy);
  for (const warning of plan.warnings) log.warn({}, warning);
  return createModuleNetwork(options, plan, policy);
}

function createModuleNetwork(options: ModuleNetworkOptions, plan: NetworkPlan, policy: NetworkPolicy): ModuleNetwork {
  const { manifest, clock, log } = options;
  const { resolver, onOpened } = options;
  const gateway = createGateway({ module: manifest.name, plan, policy, resolver, clock, log, onOpened });
  const words = grantWords(plan.grants);
  let attachment: NetworkAttachment | undefined;
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= Promise.all([gateway.close(), attachment?.close()]).then(() => undefined);
    return closing;
  };
  const open = async (sandboxPid: number): Promise<void> => {
    attachment = await openNetworkAttachment({
      sandboxPid,
      listeners: plan.listeners.map(({ id, kind, address, port }) => ({ key: id, transport: kind, address, port })),
      onListener: (key, handle) => gateway.attach(key, handle),
      inbound: plan.inbound.length > 0,
      clock,
      log,
      onBroken: options.onBroken,
    });
    if (attachment.relay !== undefined) await gateway.openInbound(attachment.relay);
    log.info({}, `${manifest.name} has network: ${words.join(', ')}`);
  };
  /** The network is closed before anybody hears that the process has ended: what follows finds its ports free. */
  const closed = async <T>(work: Promise<T>): Promise<T> => {
    const answer = await work;
    await close();
    return answer;
  };
  return {
    contain: (guarantees) =>
      guarantees.map((one) =>
        one.name === 'network' ? { ...one, by: `${one.by}; the host connects it: ${words.join(', ')}` } : one,
      ),
    async launch(env, start) {
      const whole = new Map([...Object.entries(plan.env), ...env]);
      try {
        const process = await start({ network: { hosts: plan.hosts }, env: whole, beforeGo: open });
        return {
          ...process,
          exited: closed(process.exited),
          stop: (graceMs) => closed(process.stop(graceMs)),
          kill: () => closed(process.kill()),
        };
      } catch (error) {
        await close();
        throw error;
      }
    },
    use: () => gateway.use(),
    close,
  };
}

/**
 * True where the engine gives a module a network of its own. Where nothing confines it, it has the machine's and needs no
 * help, but then nothing keeps it to the proxy either.
 */
function canConnect({ manifest, engine, log }: ModuleNetworkOptions, { proxy }: NetworkPolicy): boolean {
  if (engine.name === 'bubblewrap') return true;
  const state = engine.containment().find(({ name }) => name === 'network')?.state;
  if (state === 'enforced' || proxy !== undefined) {
    const why =
      state === 'enforced' ? 'this sandbox can only keep it off' : 'without a sandbox it would pass by the proxy';
    throw new HostError('NETWORK_UNAVAILABLE', `${manifest.name} cannot have network: ${why}; it needs bubblewrap`);
  }
  log.warn({}, `${manifest.name} reaches the whole network: no sandbox keeps it to its grants`);
  return false;
}

/**
 * What a manifest may have of the network. `true` grants all that it asks, but no address that is not public: a stranger's
 * manifest must not open the operator's own network, so such an address needs a line of the operator's own.
 */
function settle({ network: asked }: Manifest, granted: ModuleNetworkSettings | undefined): SettledNetwork {
  const none: NetworkAllowance = { outbound: [], outboundAny: false, inbound: [], udp: false, private: [] };
  if (granted === undefined || granted === false) return settleNetwork(asked, none);
  if (granted === true) {
    return settleNetwork(asked, { ...asked, outbound: asked.outbound.filter(isPublicTarget), private: [] });
  }
  return settleNetwork(asked, {
    outbound: granted.outbound ?? [],
    outboundAny: granted.outboundAny ?? false,
    inbound: (granted.inbound ?? []).map(({ port }) => port),
    udp: granted.udp ?? false,
    private: granted.private ?? [],
  });
}

function isPublicTarget(text: string): boolean {
  const address = parseAddress(parseEndpoint(text).host);
  return address === undefined || addressKind(address) === 'public';
}

/** The plan with the addresses that the operator has named for single ports. */
function withAddresses(
  plan: NetworkPlan,
  granted: ModuleNetworkSettings | undefined,
  policy: NetworkPolicy,
): NetworkPlan {
  const named = typeof granted === 'object' ? (granted.inbound ?? []) : [];
  const inbound = plan.inbound.flatMap((planned): PlannedInbound[] => {
    const here = named.filter(({ port, address }) => port === planned.port && address !== undefined);
    return here.length === 0
      ? [planned]
      : here.map(({ address }) => ({ ...planned, address: assertLocal(address ?? '', policy) }));
  });
  return { ...plan, inbound };
}

function assertLocal(text: string, policy: NetworkPolicy): string {
  const address = parseAddress(text);
  if (address === undefined) throw new HostError('BAD_CONFIG', `'${text}' is no address that a port can be opened at`);
  if (policy.onlynet === 'onion' && addressKind(address) !== 'loopback') {
    const text = 'under onlynet = "onion" inbound ports open on loopback alone, where the onion service delivers';
    throw new HostError('NETWORK_UNAVAILABLE', text);
  }
  return address.text;
}
