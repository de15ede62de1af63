import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Bytes of randomness in the name under which the new file is written. */
const NAME_BYTES = 8;

/**
 * Writes a whole file anew, readable to its owner alone: under another name, synced, then in its place, and the place synced
 * too. After a crash there is the old one or the new one; after a failure the old one, and nothing beside it.
 *
 * @throws what the file system answered, as it is
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(NAME_BYTES).toString('hex')}`;
  try {
    await synced(await open(temporary, 'wx', 0o600), (file) => file.writeFile(text));
    await rename(temporary, path);
    await synced(await open(dirname(path), 'r'), async () => undefined);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

async function synced(file: FileHandle, act: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    await act(file);
    await file.sync();
  } finally {
    await file.close();
  }
}
