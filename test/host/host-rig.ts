import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createHost, type Host } from '../../src/host/host.js';
import type { HostOptions } from '../../src/host/options.js';
import { createDevchain } from '../../src/node/devchain/devchain.js';
import { unary } from '../ipc/rig.js';
import { createExternalHost, type ExternalHost } from './external-host.js';
import { makeDirectory } from './spawned-host.js';

const cleanups: (() => unknown)[] = [];

/** What the test has opened is closed with it, last first. */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** For `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** A directory for one host, gone with the test. */
export function directory(): string {
  const dir = makeDirectory();
  atEnd(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A chain of a test's own. */
export const devchain = () => createDevchain({ clock: createSystemClock(), logger: createSilentLogger() });

/** A host over an empty directory of modules; not started. */
export function hostIn(dir: string, more: Partial<HostOptions> = {}): Host {
  mkdirSync(join(dir, 'm'), { recursive: true });
  const host = createHost({
    modulesDir: join(dir, 'm'),
    dataDir: join(dir, 'd'),
    socketDir: join(dir, 's'),
    node: devchain(),
    sandboxMinimum: 'none',
    ...more,
  });
  atEnd(() => host.stop());
  return host;
}

/** A running host with one external module, `probe`. */
export async function external(
  capabilities: readonly string[] = [],
  more: Partial<HostOptions> = {},
): Promise<ExternalHost> {
  const rig = await createExternalHost({ modules: [{ name: 'probe', capabilities }], more });
  atEnd(() => rig.dispose());
  return rig;
}

/** A client that closes with the test. */
export function client<T extends { close(): void }>(
  make: new (target: string, creds: ReturnType<typeof credentials.createInsecure>, options: object) => T,
  socketPath: string,
): T {
  const made = new make(`unix:${socketPath}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  atEnd(() => made.close());
  return made;
}

/** Says Ready as the module of this socket. */
export const ready = (socketPath: string) =>
  unary((done) => client(SessionServiceClient, socketPath).ready({}, done as never));
