import { constants } from 'node:fs';
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises';
import type {
  FileMetadata,
  WriteFileHeader,
  WriteFileRequest,
  WriteFileResponse,
} from '../../../gen/ts/modhost/v1/filesystem.js';
import { HostError } from '../../contract/error.js';
import { inside, type Jail, type Opened } from './jail.js';
import { diskBytes, metadataOf } from './metadata.js';
import { parseSpot, type Spot } from './path.js';
import type { StagedFile, Staging } from './staging.js';
import type { Room, Usage } from './usage.js';

/** What a write works with. */
export interface WriteParts {
  jail: Jail;
  staging: Staging;
  usage: Usage;
  /** The module's total, bytes. */
  totalBytes: number;
}

/**
 * Writes one file: into staging, to the disk, then in one step to its path. Until that step nothing of it is to be seen,
 * and whatever ends it before leaves nothing.
 *
 * @throws HostError as filesystem.proto lists
 */
export async function writeFile(
  parts: WriteParts,
  messages: AsyncIterable<WriteFileRequest>,
  signal: AbortSignal,
): Promise<WriteFileResponse> {
  const iterator = messages[Symbol.asyncIterator]();
  const header = headerOf(await iterator.next());
  const spot = parseSpot(header.path);
  return parts.jail.within(spot.above, signal, async (directory) => {
    await assertFree(parts.jail, directory, spot, header.createOnly);
    const room = parts.usage.begin(spot.above[0], parts.totalBytes, signal);
    let staged: StagedFile | undefined;
    try {
      // opened at the beginning: a directory that the host may not read could not be made durable at the end
      const above = await openForSync(directory);
      try {
        staged = await parts.staging.create(parts.jail, signal);
        await receive(staged.handle, iterator, header, room, signal);
        const metadata = await publish(parts, { header, spot, directory, staged, room }, signal);
        await above.sync();
        return { metadata };
      } finally {
        await above.close();
      }
    } finally {
      room.leave();
      await staged?.end();
    }
  });
}

function headerOf({ value, done }: IteratorResult<WriteFileRequest>): WriteFileHeader {
  const header = done !== true && value.part?.$case === 'header' ? value.part.value : undefined;
  if (header === undefined) throw new HostError('FIELD_REQUIRED', 'the first message must be the header');
  if (header.path === '') throw new HostError('FIELD_REQUIRED', 'header.path is required');
  if (header.sizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new HostError('QUOTA_EXCEEDED', `no module may hold a file of ${header.sizeBytes} bytes`);
  }
  return header;
}

/** Refuses at once what would be refused at the end. */
async function assertFree(jail: Jail, directory: Opened, { name }: Spot, isNew: boolean): Promise<void> {
  const there = await jail.glance(directory, name);
  if (there?.isDirectory()) throw new HostError('INVALID_REQUEST', 'a directory is there');
  if (there !== undefined && isNew) throw new HostError('ALREADY_EXISTS', 'a file is there already');
}

/** Takes the content as it comes; room is taken before bytes are written. */
async function receive(
  file: FileHandle,
  iterator: AsyncIterator<WriteFileRequest>,
  header: WriteFileHeader,
  room: Room,
  signal: AbortSignal,
): Promise<void> {
  const blockBytes = Number((await file.stat({ bigint: true })).blksize);
  const inBlocks = (bytes: number): number => Math.ceil(bytes / blockBytes) * blockBytes;
  const promised = Number(header.sizeBytes);
  await room.reach(inBlocks(promised));
  let written = 0;
  for (;;) {
    const { value, done } = await iterator.next();
    if (done === true) break;
    signal.throwIfAborted();
    if (value.part === undefined) throw new HostError('FIELD_REQUIRED', 'a message carries neither header nor content');
    if (value.part.$case === 'header') throw new HostError('INVALID_REQUEST', 'a write has one header');
    const content = value.part.value;
    if (promised > 0 && written + content.byteLength > promised) throw otherLength(promised);
    await room.reach(inBlocks(written + content.byteLength));
    await writeWhole(file, content, written);
    written += content.byteLength;
  }
  if (promised > 0 && written !== promised) throw otherLength(promised);
}

function otherLength(promised: number): HostError {
  return new HostError('INVALID_REQUEST', `the content has not the ${promised} bytes that the header promises`);
}

async function writeWhole(file: FileHandle, content: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < content.byteLength; ) {
    const { bytesWritten } = await file.write(content, at, content.byteLength - at, position + at);
    at += bytesWritten;
  }
}

/** A write that has all its content, on its way to its path. */
interface Finished {
  header: WriteFileHeader;
  spot: Spot;
  directory: Opened;
  staged: StagedFile;
  room: Room;
}

async function publish(
  { jail, usage }: WriteParts,
  { header, spot, directory, staged, room }: Finished,
  signal: AbortSignal,
): Promise<FileMetadata> {
  const { uid, gid } = await ownerOf(jail, signal);
  const own = await staged.handle.stat({ bigint: true });
  if (own.uid !== uid || own.gid !== gid) await staged.handle.chown(Number(uid), Number(gid));
  await staged.handle.sync();
  const stats = await staged.handle.stat({ bigint: true });
  // only now it is known how many blocks the file system took
  await room.reach(diskBytes(stats));
  const replaced = await jail.glance(directory, spot.name);
  if (replaced?.isDirectory()) throw new HostError('INVALID_REQUEST', 'a directory is there');
  const target = inside(directory, spot.name);
  signal.throwIfAborted();
  if (header.createOnly) await giveName(jail, stats.ino, staged.path, target);
  else await rename(staged.path, target);
  room.leave();
  const before = replaced === undefined || header.createOnly ? 0 : diskBytes(replaced);
  usage.correct(spot.above[0], diskBytes(stats) - before);
  return metadataOf(spot.path, stats);
}

/** Gives a staged file its path unless that is taken: link(2) refuses, rename(2) would replace. */
async function giveName(jail: Jail, ino: bigint, from: string, to: string): Promise<void> {
  jail.settling.add(ino);
  try {
    await link(from, to);
    await unlink(from);
  } finally {
    jail.settling.delete(ino);
  }
}

/** Whom the data directory belongs to: the module's own user where it has one. */
async function ownerOf(jail: Jail, signal: AbortSignal): Promise<{ uid: bigint; gid: bigint }> {
  return jail.within([], signal, async ({ stats }) => stats);
}

/** Opens a directory so that what is done in it can be made durable. */
export function openForSync({ handle }: Opened): Promise<FileHandle> {
  return open(`/proc/self/fd/${handle.fd}`, constants.O_RDONLY | constants.O_DIRECTORY);
}
