import type { FileHandle } from 'node:fs/promises';
import type { ReadFileRequest, ReadFileResponse } from '../../../gen/ts/modhost/v1/filesystem.js';
import { HostError } from '../../contract/error.js';
import { faultOf } from './fault.js';
import { type Jail, type Opened, reopen } from './jail.js';
import { metadataOf } from './metadata.js';
import { parseSpot } from './path.js';

/** Bytes of one piece. @see filesystem.proto, ReadFileResponse */
export const PIECE_BYTES = 262_144;

/**
 * Streams a part of a file. Its length is the one that it had when it was opened: a file that grows is not followed, one
 * that never ends is read no further than that.
 *
 * @throws HostError as filesystem.proto lists
 */
export async function* readFile(
  jail: Jail,
  request: ReadFileRequest,
  signal: AbortSignal,
): AsyncGenerator<ReadFileResponse> {
  const { path } = request;
  const { handle, stats } = await openFile(jail, path, signal);
  try {
    if (request.offset > stats.size) {
      throw new HostError('OUT_OF_RANGE', `the file has ${stats.size} bytes, so none at ${request.offset}`);
    }
    // Node counts in doubles; no disk is as large, but a file of holes can be
    if (request.offset > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new HostError('OUT_OF_RANGE', `offsets end at ${Number.MAX_SAFE_INTEGER}`);
    }
    const left = stats.size - request.offset;
    const end = request.offset + (request.length === 0n || request.length > left ? left : request.length);
    let content = await piece(handle, request.offset, end);
    yield { metadata: metadataOf(path, stats), content };
    for (let at = request.offset + BigInt(content.byteLength); at < end; at += BigInt(content.byteLength)) {
      signal.throwIfAborted();
      content = await piece(handle, at, end);
      yield { metadata: undefined, content };
    }
  } catch (error) {
    throw faultOf(error);
  } finally {
    await handle.close();
  }
}

/** The next piece before the end. A fresh buffer each: whoever got the one before may still be sending it. */
async function piece(handle: FileHandle, at: bigint, end: bigint): Promise<Buffer> {
  const wanted = end - at < BigInt(PIECE_BYTES) ? Number(end - at) : PIECE_BYTES;
  if (wanted === 0) return Buffer.alloc(0);
  const buffer = Buffer.allocUnsafeSlow(wanted);
  const { bytesRead } = await handle.read({ buffer, position: Number(at) });
  if (bytesRead === 0) throw new HostError('PRECONDITION_FAILED', 'the file was cut while it was read');
  return buffer.subarray(0, bytesRead);
}

async function openFile(jail: Jail, path: string, signal: AbortSignal): Promise<Opened> {
  const spot = parseSpot(path);
  return jail.within(spot.above, signal, async (directory) => {
    const found = await jail.look(directory, spot.name);
    if (found === undefined) throw new HostError('NOT_FOUND', 'there is no such file');
    try {
      if (found.stats.isDirectory()) throw new HostError('INVALID_REQUEST', 'a directory is there, not a file');
      return { handle: await reopen(found), stats: found.stats };
    } finally {
      await found.handle.close();
    }
  });
}
