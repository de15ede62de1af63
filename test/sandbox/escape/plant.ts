import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { closeSync, openSync } from 'node:fs';
import { chmod, chown, copyFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createPlace, type Place } from '../spawn-module.js';

/** Name of the planted wallet, which probes also look for. */
export const SECRET_NAME = 'wallet.dat';

/** A machine with something to steal on it: a host, the module that probes, and another module. */
export interface Plant {
  /** The place of the module that probes. */
  readonly place: Place;
  /** Arguments that tell the probes what there is to steal, the same inside and outside. */
  readonly prey: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

/**
 * Plants secrets that no file permission protects, so that only the sandbox does: all are readable to every user, and
 * the other module even runs as the same user as the one that probes.
 *
 * @param secret what must never be read; this process has it in its environment as well
 * @param build  directory with the compiled probes
 */
export async function plantSecrets(secret: string, build: string, parent: string): Promise<Plant> {
  const place = await createPlace('confined', parent);
  const other = await createPlace('confined', parent);
  const undo: (() => unknown)[] = [() => place.remove(), () => other.remove()];
  const plant = async (path: string): Promise<string> => {
    await writeFile(path, secret, { mode: 0o444 });
    return path;
  };
  const listen = (target: { port: number; host: string } | { path: string }): Promise<Server> =>
    new Promise((resolve, reject) => {
      const server = createServer((socket) => void socket.on('error', () => undefined).destroy());
      undo.push(() => server.close());
      server.once('error', reject);
      server.listen(target, () => resolve(server));
    });

  for (const file of ['probes', 'probes.py']) {
    await copyFile(join(build, file), join(place.directories.code, file));
    await chmod(join(place.directories.code, file), 0o555);
  }
  const wallet = await plant(join(place.root, SECRET_NAME));
  await symlink(wallet, join(place.directories.data, 'planted-link'));
  const descriptor = openSync(wallet, 'r');
  undo.push(() => closeSync(descriptor));
  process.chdir(place.root);

  for (const { directories } of [place, other]) {
    const path = join(directories.socket, 'module.sock');
    await listen({ path });
    const { uid, gid } = await stat(directories.socket);
    await chown(path, uid, gid);
    await chmod(path, 0o777);
  }
  const admin = join(place.root, 'admin.sock');
  await listen({ path: admin });
  await chmod(admin, 0o777);
  const abstract = `modhost-escape-${randomBytes(6).toString('hex')}`;
  await listen({ path: `\0${abstract}` });
  const { port } = (await listen({ port: 0, host: '127.0.0.1' })).address() as { port: number };
  // A machine without IPv6 has nothing to be reached by it.
  await listen({ port, host: '::1' }).catch(() => undefined);
  const udp = createSocket('udp4');
  udp.on('message', (text, from) => udp.send(text, from.port, from.address));
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
  undo.push(() => udp.close());

  const sharedFile = await plant(`/dev/shm/modhost-escape-${randomBytes(6).toString('hex')}`);
  undo.push(() => rm(sharedFile));
  const segment = execFileSync(join(build, 'probes'), ['plant-segment', secret], { encoding: 'utf8' }).trim();
  undo.push(() => execFileSync(join(build, 'probes'), ['remove-segment', segment]));

  const neighbour = await other.start('#!/bin/sh\nexec sleep 600');
  undo.push(() => neighbour.kill());

  return {
    place,
    prey: {
      secret: wallet,
      secretname: SECRET_NAME,
      hostpid: String(process.pid),
      hostfd: String(descriptor),
      otherpid: String(neighbour.pid),
      otherdata: await plant(join(other.directories.data, 'channel.db')),
      otherinside: '/data/channel.db',
      othertoken: await plant(join(other.directories.socket, 'token')),
      othersocket: join(other.directories.socket, 'module.sock'),
      adminsocket: admin,
      abstract,
      tcpport: String(port),
      udpport: String(udp.address().port),
      shmfile: sharedFile,
      shmid: segment,
      setuid: join(build, 'probes-setuid'),
    },
    async remove() {
      for (const step of undo.reverse()) await step();
    },
  };
}
