import { copyFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { GuaranteeState } from '../../../gen/ts/modhost/v1/session.js';
import type { HostOptions } from '../../../src/host/options.js';
import { createSpawnedHost, reason, type SpawnedHost, type SpawnedModule } from '../../host/spawned-host.js';

/** What the program is told first. */
export interface WorldSpec {
  modules: Record<string, SpawnedModule>;
  options: Pick<HostOptions, 'modules' | 'network'>;
  /** Paths of Unix sockets to listen on; a leading NUL makes it an abstract one. */
  sockets: string[];
  /** TCP port of its own loopback. */
  loopbackPort: number;
}

/** What it is asked; a stop concerns no module. */
export interface WorldCommand {
  id: number;
  ask: 'load' | 'status' | 'lines' | 'unload' | 'stop';
  module: string;
}

// A host for tests of its network, in a world of the test's own: it is told by lines of JSON what to do, and answers so.
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const wordOf = (state: GuaranteeState): string =>
  Object.entries(GuaranteeState).find(([, number]) => number === state)?.[0] ?? '';

async function begin(spec: WorldSpec): Promise<SpawnedHost> {
  for (const path of spec.sockets) createServer((socket) => socket.end('host socket')).listen(path);
  createServer((socket) => socket.end('host loopback')).listen(spec.loopbackPort, '127.0.0.1');
  const rig = await createSpawnedHost(spec.modules, { ...spec.options, maxNodeCalls: 2 });
  for (const name of Object.keys(spec.modules)) {
    copyFileSync(new URL('./probe.mjs', import.meta.url), join(rig.modulesDir, name, 'probe.mjs'));
  }
  return rig;
}

async function answer(rig: SpawnedHost, command: WorldCommand): Promise<unknown> {
  switch (command.ask) {
    case 'load':
      return reason(rig.host.load(command.module));
    case 'unload':
      return reason(rig.host.unload(command.module));
    case 'lines':
      return rig.lines(command.module).map(({ message, source }) => ({ message, source }));
    case 'status': {
      const status = rig.host.list().find(({ name }) => name === command.module);
      const containment = status?.containment.find(({ name }) => name === 'network');
      const { network } = status ?? {};
      return {
        state: containment === undefined ? '' : wordOf(containment.state),
        by: containment?.by,
        network: network && {
          ...network,
          opened: Number(network.opened),
          refused: Number(network.refused),
          failed: Number(network.failed),
          sentBytes: Number(network.sentBytes),
          receivedBytes: Number(network.receivedBytes),
        },
        error: status?.lastError?.message,
      };
    }
    default:
      await rig.dispose();
      return 'stopped';
  }
}

let rig: Promise<SpawnedHost> | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line) as WorldSpec | WorldCommand;
  if (!('ask' in told)) {
    rig = begin(told);
    rig.then(
      () => say({ id: 0, answer: 'ready' }),
      (error: unknown) => say({ id: 0, answer: String(error) }),
    );
  } else if (rig !== undefined) {
    void rig
      .then((host) => answer(host, told))
      .then((said) => {
        say({ id: told.id, answer: said });
        if (told.ask === 'stop') process.exit(0);
      });
  }
}
await rig?.then((host) => host.dispose());
process.exit(0);
