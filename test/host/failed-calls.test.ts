import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { AuditKind } from '../../gen/ts/modhost/admin/v1/audit.js';
import { EventServiceClient } from '../../gen/ts/modhost/event/v1/event_service.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { FilesystemServiceClient, type GetMetadataResponse } from '../../gen/ts/modhost/v1/filesystem.js';
import { Permission } from '../../gen/ts/modhost/v1/permission.js';
import { StorageServiceClient, type StorageServiceGetResponse } from '../../gen/ts/modhost/v1/storage.js';
import { reasonOf, unary } from '../ipc/rig.js';
import { cleanUp, client, external, ready } from './host-rig.js';
import { until } from './spawned-host.js';

afterEach(cleanUp);

describe('calls that the guard lets pass and that fail', () => {
  it('C119: an escape is in the audit, as what the guard refuses; every failed call is counted, and none that was given up', async () => {
    const rig = await external(['read_filesystem', 'manage_storage', 'read_storage', 'subscribe_events']);
    const socket = await rig.open('probe');
    await ready(socket);
    const files = client(FilesystemServiceClient, socket);
    const storage = client(StorageServiceClient, socket);
    const look = (path: string) => unary<GetMetadataResponse>((done) => files.getMetadata({ path }, done));
    const counters = () => rig.host.list()[0]?.counters;

    const before = counters();
    const data = join(rig.dir, 'd', 'modules', 'probe');
    mkdirSync(data, { recursive: true });
    symlinkSync('/etc', join(data, 'out'));
    for (const path of ['../x', 'out/passwd', '/etc/passwd']) expect(await reasonOf(look(path))).toBe('PATH_ESCAPE');
    expect(await reasonOf(look('gone'))).toBe('NOT_FOUND');
    const get = unary<StorageServiceGetResponse>((done) => storage.get({ tree: 'none', key: Buffer.of(1) }, done));
    expect(await reasonOf(get)).toBe('NOT_FOUND');
    await look('');
    await until('the count', () => counters()?.failed === (before?.failed ?? 0n) + 5n);
    expect(counters()).toMatchObject({ calls: (before?.calls ?? 0n) + 6n, denied: 0n, limited: 0n });

    // a stream that the module ends itself has not failed
    const stream = client(EventServiceClient, socket).subscribe({ types: [], topics: ['probe.x'], chainCursor: [] });
    stream.on('error', () => {});
    await new Promise((resolve) => stream.once('metadata', resolve));
    stream.cancel();
    await look('');
    expect(counters()?.failed).toBe((before?.failed ?? 0n) + 5n);

    const found: unknown[] = [];
    const filter = { modules: ['probe'], kinds: [AuditKind.CALL_DENIED], tail: 100, follow: true };
    for await (const entries of rig.host.control.audit(filter, AbortSignal.timeout(5_000))) {
      found.push(...entries);
      if (found.length > 0) break;
    }
    expect(found).toMatchObject([
      {
        module: 'probe',
        method: '/modhost.v1.FilesystemService/GetMetadata',
        reason: ErrorReason.PATH_ESCAPE,
        permissions: [Permission.READ_FILESYSTEM],
        count: 3n,
      },
    ]);
  });
});
