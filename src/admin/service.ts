import type { AdminServiceService } from '../../gen/ts/modhost/admin/v1/admin.js';
import type { DevchainServiceService } from '../../gen/ts/modhost/admin/v1/devchain.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import type { DevchainAct, HostControl } from './host-control.js';

/** Time that a stop takes at most when the request names none. */
export const DEFAULT_STOP_MS = 15_000;
/** Blocks or transactions that one devchain request makes at most. */
const MAX_DEVCHAIN_COUNT = 10_000;

/** Answers the operator's requests. */
export function createAdminService(host: HostControl): ServiceImpl<typeof AdminServiceService> {
  return {
    getStatus: (_request, { signal }) => host.status(signal),
    listModules: async () => ({ modules: host.list() }),
    async loadModule({ name, noWait }) {
      host.noteCommand('load', requireName(name));
      return { module: await host.load(name, !noWait) };
    },
    async unloadModule({ name, cascade }) {
      host.noteCommand(cascade ? 'unload --cascade' : 'unload', requireName(name));
      return host.unload(name, cascade);
    },
    async reloadModule({ name }) {
      host.noteCommand('reload', requireName(name));
      return { module: await host.reload(name) };
    },
    async *streamLogs(filter, { signal }) {
      yield* host.logs(filter, signal);
    },
    async *streamEvents(filter, { signal }) {
      yield* host.events(filter, signal);
    },
    getDeliveryStats: async ({ module }) => host.deliveryStats(module),
    async *streamAudit(filter, { signal }) {
      for await (const entries of host.audit(filter, signal)) yield { entries };
    },
    getContainment: async ({ module }) => host.containment(module),
    async enableModule({ name }) {
      host.noteCommand('enable', requireName(name));
      return { module: await host.enable(name) };
    },
    async disableModule({ name, cascade }) {
      host.noteCommand(cascade ? 'disable --cascade' : 'disable', requireName(name));
      return host.disable(name, cascade);
    },
    listCommands: async ({ name }) => ({ commands: host.commands(name) }),
    async runCommand(request, { signal }) {
      host.noteCommand(`cli ${request.subcommand}`, requireName(request.name));
      return host.runCommand(request, signal);
    },
    async *streamTop({ intervalMs }, { signal }) {
      yield* host.top(intervalMs, signal);
    },
    getObservation: async ({ module, reset }) => host.observation(requireName(module), reset),
    async applyConfig(_request, { signal }) {
      host.noteCommand('config apply', '');
      return host.applyConfig(signal);
    },
    async stop({ timeoutMs }) {
      host.noteCommand('stop', '');
      host.requestStop(timeoutMs === 0 ? DEFAULT_STOP_MS : timeoutMs);
      return { pid: process.pid };
    },
  };
}

/** Answers the operator of an embedded devchain. */
export function createDevchainService(host: HostControl): ServiceImpl<typeof DevchainServiceService> {
  const chain = (): DevchainAct => {
    if (host.devchain === undefined) {
      throw new HostError('NODE_LACKS_FEATURE', 'the node behind this host is not the embedded devchain');
    }
    return host.devchain;
  };
  return {
    async mine({ count, coinbaseScript }) {
      const hashes = await chain().mine(requireCount(count), coinbaseScript);
      return { hashes, height: chain().height() };
    },
    async reorg({ depth }) {
      const { disconnected, connected } = await chain().reorg(requireCount(depth));
      return { disconnected, connected, height: chain().height() };
    },
    async submitSpends({ count }) {
      return { txids: await chain().spend(requireCount(count)) };
    },
  };
}

function requireName(name: string): string {
  if (name === '') throw new HostError('FIELD_REQUIRED', 'name is not set');
  return name;
}

function requireCount(count: number): number {
  if (count < 1 || count > MAX_DEVCHAIN_COUNT) {
    throw new HostError('OUT_OF_RANGE', `the number must be 1 to ${MAX_DEVCHAIN_COUNT}`);
  }
  return count;
}
