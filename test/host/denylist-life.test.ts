import { afterEach, describe, expect, it } from 'vitest';
import { NetworkServiceClient } from '../../gen/ts/modhost/v1/network.js';
import type { NodeApi, NodeListener } from '../../src/node/node-api.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { createExternalHost } from './external-host.js';
import { atEnd, cleanUp, client, ready } from './host-rig.js';
import { until } from './spawned-host.js';

afterEach(cleanUp);

const hash = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);

/** A host over a node that serves by denylists and remembers what it was told last; its events can be made. */
async function createRig() {
  const told: { kind: string; fills: number[] }[] = [];
  const maintenance: boolean[] = [];
  let listener: NodeListener = () => {};
  const wrapNode = (node: NodeApi): NodeApi => {
    const network = {
      ...node.network,
      async setServeDenylist(kind: string, hashes: readonly Uint8Array[]) {
        told.push({ kind, fills: hashes.map((one) => one[0] ?? 0) });
      },
      async setBlockServeMaintenance(enabled: boolean) {
        maintenance.push(enabled);
      },
    };
    return new Proxy(node, {
      get(object, name) {
        if (name === 'network') return network;
        if (name === 'start') {
          return (heard: NodeListener, signal: AbortSignal) => {
            listener = heard;
            return object.start(heard, signal);
          };
        }
        const value: unknown = Reflect.get(object, name);
        return typeof value === 'function' ? value.bind(object) : value;
      },
    });
  };
  const capabilities = ['network_access', 'read_network'];
  const rig = await createExternalHost({
    wrapNode,
    modules: [
      { name: 'alpha', capabilities },
      { name: 'beta', capabilities },
    ],
  });
  atEnd(() => rig.dispose());
  const open = async (name: string): Promise<NetworkServiceClient> => {
    const socketPath = await rig.open(name);
    await ready(socketPath);
    return client(NetworkServiceClient, socketPath);
  };
  return { rig, told, maintenance, open, emit: (event: Parameters<NodeListener>[0]) => listener(event) };
}

describe('what modules deny, over the life of modules and node', () => {
  it('ends with the session of the module, and no module can take away what another denies', async () => {
    const { rig, told, maintenance, open } = await createRig();
    const alpha = await open('alpha');
    const beta = await open('beta');
    const merge = (who: NetworkServiceClient, fill: number) =>
      reasonOf(unary((cb) => who.mergeBlockServeDenylist({ hashes: [hash(fill)] }, cb)));
    expect(await merge(alpha, 1)).toBe('OK');
    expect(await merge(beta, 2)).toBe('OK');
    expect(await reasonOf(unary((cb) => alpha.setBlockServeMaintenanceMode({ enabled: true }, cb)))).toBe('OK');
    expect(await reasonOf(unary((cb) => beta.clearBlockServeDenylist({}, cb)))).toBe('OK');
    expect(told.at(-1)).toEqual({ kind: 'block', fills: [1] });
    expect(await merge(beta, 2)).toBe('OK');
    await rig.host.unload('alpha');
    expect(told.at(-1)).toEqual({ kind: 'block', fills: [2] });
    expect(maintenance).toEqual([true, false]);
  });

  it('is told again to a node that has come back', async () => {
    const { told, maintenance, open, emit } = await createRig();
    const alpha = await open('alpha');
    emit({ type: 'NodeConnection', up: true, detail: 'nobody has denied anything yet' });
    await unary((cb) => alpha.mergeTxServeDenylist({ hashes: [hash(7)] }, cb));
    await unary((cb) => alpha.setBlockServeMaintenanceMode({ enabled: true }, cb));
    expect(told).toEqual([{ kind: 'transaction', fills: [7] }]);
    emit({ type: 'NodeConnection', up: false, detail: 'restarting' });
    emit({ type: 'NodeConnection', up: true, detail: 'back' });
    await until('the second telling', () => told.length === 2 && maintenance.length === 2);
    expect(told[1]).toEqual({ kind: 'transaction', fills: [7] });
    expect(maintenance).toEqual([true, true]);
  });
});
