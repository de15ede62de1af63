import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger, type Logger } from '../../src/core/logger.js';
import { createHost, type Host } from '../../src/host/host.js';
import type { HostOptions } from '../../src/host/options.js';
import { createDevchain, type Devchain } from '../../src/node/devchain/devchain.js';
import type { NodeApi } from '../../src/node/node-api.js';
import { openExternal, VERSION, writeExternalModule } from './external-module.js';

/** A module of a test: started by nobody, so that the test itself speaks on its socket. */
export interface ExternalModule {
  name: string;
  capabilities: readonly string[];
}

/** A real host over a devchain whose modules are external: the tests are the modules. */
export interface ExternalHost {
  host: Host;
  devchain: Devchain;
  dir: string;
  socketPath(name: string): string;
  token(name: string): Uint8Array;
  /** Handshakes as the module; answers its socket's path. */
  open(name: string): Promise<string>;
  dispose(): Promise<void>;
}

export interface ExternalHostOptions {
  modules: readonly ExternalModule[];
  wrapNode?: (node: NodeApi) => NodeApi;
  callsPerSecond?: number;
  logger?: Logger;
  more?: Partial<HostOptions>;
}

export async function createExternalHost(options: ExternalHostOptions): Promise<ExternalHost> {
  const dir = mkdtempSync(join(tmpdir(), 'mh-'));
  const modulesDir = join(dir, 'm');
  for (const { name, capabilities } of options.modules) writeExternalModule(modulesDir, name, capabilities);
  const clock = createSystemClock();
  const logger = options.logger ?? createSilentLogger();
  const devchain = createDevchain({ clock, logger });
  const host = createHost({
    modulesDir,
    dataDir: join(dir, 'd'),
    socketDir: join(dir, 's'),
    node: options.wrapNode?.(devchain) ?? devchain,
    modules: Object.fromEntries(
      options.modules.map(({ name }) => [name, { run: 'external', unsigned: true }] as const),
    ),
    logger,
    // every module here is external, so nothing needs confining
    sandboxMinimum: 'none',
    ...(options.callsPerSecond === undefined ? {} : { callsPerSecond: options.callsPerSecond }),
    ...options.more,
  });
  await host.start();
  const failed = (await host.autoLoad()).filter(({ error }) => error !== undefined);
  if (failed.length > 0) throw failed[0]?.error;
  const socketPath = (name: string): string => join(dir, 's', `x-${name}`, 'host.sock');
  const token = (name: string): Uint8Array => readFileSync(join(dir, 's', `x-${name}`, 'token'));
  return {
    host,
    devchain,
    dir,
    socketPath,
    token,
    async open(name) {
      await openExternal(socketPath(name), token(name), name, VERSION);
      return socketPath(name);
    },
    async dispose() {
      await host.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
