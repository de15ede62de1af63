import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { AdminServiceService } from '../../gen/ts/modhost/admin/v1/admin.js';
import { SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { cleanUp, client, external, ready } from './host-rig.js';
import { createSpawnedHost, type SpawnedHost, until } from './spawned-host.js';

const { skip } = await sandboxToolchain();

afterEach(cleanUp);

describe('C102: the operator’s socket and a module', () => {
  let rig: SpawnedHost | undefined;
  afterEach(async () => {
    await rig?.dispose();
    rig = undefined;
  });

  it.skipIf(skip)('is out of reach for a process in the sandbox, by whatever path it tries', async () => {
    const python = `
import errno, os, socket, time
own = os.environ["MODHOST_SOCKET"]
def attempt(path):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path)
        return "connected"
    except OSError as error:
        return errno.errorcode[error.errno]
print("own", attempt(own), flush=True)
admin = open("/module/admin-path").read()
for path in [admin, os.path.join(os.path.dirname(own), "..", "admin.sock"), "/proc/1/root" + admin, "/proc/self/root" + admin]:
    print("admin", attempt(path), flush=True)
print("done", flush=True)
time.sleep(600)
`;
    rig = await createSpawnedHost({ alpha: { python, manifest: 'limits = { start_timeout_ms = 20000 }' } });
    const { host, lines, modulesDir } = rig;
    writeFileSync(join(modulesDir, 'alpha', 'admin-path'), host.adminSocket);
    expect(statSync(host.adminSocket).mode & 0o777).toBe(0o600);
    const loading = host.load('alpha').catch(() => {});
    const said = () => lines('alpha').map(({ message }) => message);
    await until('its attempts', () => said().includes('done'));
    expect(said().filter((line) => line.startsWith('own'))).toEqual(['own connected']);
    const attempts = said().filter((line) => line.startsWith('admin'));
    expect(attempts).toHaveLength(4);
    for (const attempt of attempts) expect(['admin ENOENT', 'admin EACCES', 'admin EPERM']).toContain(attempt);
    await host.unload('alpha');
    await loading;
  });

  it('has services that a module’s own socket does not know, whatever it holds', async () => {
    const host = await external(['read_blockchain', 'network_access']);
    const socketPath = await host.open('probe');
    await ready(socketPath);
    const raw = client(Client, socketPath);
    const bytes = (buffer: Buffer): Buffer => buffer;
    for (const { path } of Object.values(AdminServiceService)) {
      const call = unary((cb) => raw.makeUnaryRequest(path, bytes, bytes, Buffer.alloc(0), cb));
      expect(await reasonOf(call), path).toBe('UNKNOWN_METHOD');
    }
  });

  it('knows no handshake: a token of a module opens nothing there', async () => {
    const host = await external();
    const session = client(SessionServiceClient, host.host.adminSocket);
    const claims = { moduleName: 'probe', moduleVersion: '1.0.0', protocolMin: 1, protocolMax: 1 };
    const shaken = unary((cb) =>
      session.handshake({ token: host.token('probe'), ...claims, sdkName: '', sdkVersion: '' }, cb),
    );
    expect(await reasonOf(shaken)).toBe('UNKNOWN_METHOD');
    expect(host.host.list()[0]?.externalTokenFile).not.toBe('');
  });
});
