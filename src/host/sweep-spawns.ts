import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { emptyDirectory } from '../ipc/socket.js';

/**
 * Removes what spawns of a killed host left; the operator's socket has shown that no host is alive. The directory of a
 * module that is still external stays, since a container may have it mounted.
 */
export function sweepSpawns(socketDir: string, isExternal: (name: string) => boolean): void {
  for (const { name } of readdirSync(socketDir, { withFileTypes: true })) {
    const path = join(socketDir, name);
    if (name.startsWith('x-') && isExternal(name.slice(2))) emptyDirectory(path);
    else if (/^(?:[0-9a-f]{8}|x-[a-z0-9-]+|canary-[A-Za-z0-9]{6})$/.test(name))
      rmSync(path, { recursive: true, force: true });
  }
}
