import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';

/** Version of every external module. */
export const VERSION = '1.0.0';

/** Puts a manifest without a program into a modules directory: the test itself is the module. */
export function writeExternalModule(modulesDir: string, name: string, capabilities: readonly string[]): void {
  mkdirSync(join(modulesDir, name), { recursive: true });
  writeFileSync(
    join(modulesDir, name, 'module.toml'),
    `name = "${name}"\nversion = "${VERSION}"\ncapabilities = ${JSON.stringify(capabilities)}\n`,
  );
}

/** Handshakes on a spawn's socket. */
export async function openExternal(socket: string, token: Uint8Array, name: string, version: string): Promise<void> {
  const client = new SessionServiceClient(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  try {
    await new Promise<void>((resolve, reject) => {
      client.handshake(
        {
          token,
          moduleName: name,
          moduleVersion: version,
          protocolMin: 1,
          protocolMax: 1,
          sdkName: '',
          sdkVersion: '',
        },
        (error) => (error === null ? resolve() : reject(error)),
      );
    });
  } finally {
    client.close();
  }
}
