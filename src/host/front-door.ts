import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import type { HostStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import {
  assertFrontDoorSettings,
  DEFAULT_RPC_PORT,
  type FrontDoorSettings,
  type FrontDoor as OpenDoor,
  openFrontDoor,
} from '../admin/front-door/front-door.js';
import type { HostControl } from '../admin/host-control.js';
import type { ContractRegistry } from '../contract/descriptors.js';
import { HostError } from '../contract/error.js';
import { createContractWords } from '../contract/plain.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { RpcTable } from '../manifest/operator.js';
import type { NodeBudget } from '../node/budget.js';
import type { EndpointBook } from '../session/endpoint-book.js';
import type { HostOptions, RpcSettings } from './options.js';

/** Name under which the node's budget counts what is handed on; no module can bear it. */
export const FRONT_DOOR_CALLER = '@rpc';
/** Cookie file in the data directory, under the name that bitcoind's users know. */
const COOKIE_FILE = '.cookie';

/** What the status tells of the door. */
export type FrontDoorStatus = Pick<HostStatus, 'rpcUrl' | 'rpcCookieFile' | 'rpcPassthrough'>;

/** The JSON-RPC front door of one host, open or not. */
export interface FrontDoor {
  /** Opens it where the options want it. @throws HostError BAD_CONFIG */
  open(control: HostControl): Promise<void>;
  status(): FrontDoorStatus;
  close(): Promise<void>;
}

/** What the front door needs of the host. */
export interface FrontDoorParts {
  readonly options: Pick<HostOptions, 'rpc' | 'dataDir'>;
  readonly endpoints: EndpointBook;
  readonly budget: NodeBudget;
  readonly registry: ContractRegistry;
  readonly clock: Clock;
  readonly log: Logger;
  isStopping(): boolean;
}

/** The door's settings with their defaults; undefined when nobody wants one. @throws HostError BAD_CONFIG */
export function frontDoorSettings({ rpc, dataDir }: FrontDoorParts['options']): FrontDoorSettings | undefined {
  if (rpc === undefined || rpc.enabled === false) return undefined;
  const settings: FrontDoorSettings = {
    address: rpc.address ?? '127.0.0.1',
    port: rpc.port ?? 0,
    cookieFile: resolve(rpc.cookieFile ?? join(dataDir, COOKIE_FILE)),
    rpcauth: rpc.rpcauth ?? [],
    passthrough: [...new Set(rpc.passthrough ?? [])],
    metricsAuth: rpc.metricsAuth ?? false,
  };
  assertFrontDoorSettings(settings);
  return settings;
}

/**
 * The front door of a daemon: open at DEFAULT_RPC_PORT unless the operator says otherwise. Where nothing is said, a port that
 * somebody has taken, a daemon for another network for example, is no reason not to start.
 */
export function daemonRpc(table: RpcTable | undefined): RpcSettings {
  return { port: DEFAULT_RPC_PORT, required: table !== undefined, ...table };
}

/** Makes the front door; nothing listens before `open`. */
export function createFrontDoor(parts: FrontDoorParts): FrontDoor {
  const { options, log } = parts;
  const settings = frontDoorSettings(options);
  const node = parts.budget.forModule(FRONT_DOOR_CALLER);
  let door: OpenDoor | undefined;
  return {
    async open(control) {
      if (settings === undefined) return;
      try {
        door = await openFrontDoor({
          settings,
          control,
          endpoints: parts.endpoints,
          words: createContractWords(parts.registry),
          passthrough: settings.passthrough,
          clock: parts.clock,
          log,
          randomBytes,
          isStopping: parts.isStopping,
          metrics: () => control.metrics(),
          audit: (method, user, module) => control.noteCommand(`rpc ${method} by ${user}`, module),
          async handOn(method, params, signal) {
            if (node.rawRpc !== undefined) return node.rawRpc.call(method, params, signal);
            throw new HostError('NODE_LACKS_FEATURE', 'the node behind this host has no JSON-RPC to hand calls on to');
          },
        });
      } catch (error) {
        if (options.rpc?.required !== false) throw error;
        log.warn({ err: error }, 'the front door stays closed; say [rpc] port or enabled = false');
      }
    },
    status: () => ({
      rpcUrl: door?.url ?? '',
      rpcCookieFile: door?.cookieFile ?? '',
      rpcPassthrough: [...(settings?.passthrough ?? [])].sort(),
    }),
    async close() {
      await door?.close();
      door = undefined;
    },
  };
}
