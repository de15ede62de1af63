import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { delay } from './delay.js';

/** Text that waits for a disk that is slow or full, characters; what comes beyond is lost and counted. */
const MAX_WAITING_CHARS = 4 * 1024 * 1024;
/** Pause after a write that failed, milliseconds: a full disk is asked again, and not all the time. */
const RETRY_MS = 1_000;
/** End of a line. */
const LINE_END = 10;

/** Lines in a file that never grows past its bound: then it moves aside, and the oldest of those goes. */
export interface RotatingFile {
  /** Takes a line without its end; never waits, never throws. */
  write(line: string): void;
  /** Lines that are on no disk: it was full, failed, or too slow. */
  lost(): number;
  /** Writes what waits; nothing is taken any more. */
  close(): Promise<void>;
}

/** What a rotating file is made of. */
export interface RotatingFileParts {
  /** The newest lines; `.1`, `.2` … beside it hold older ones. Its directory is made when it is missing. */
  readonly path: string;
  /** Size of one file at most, bytes; a line longer than that stands in a file of its own. */
  readonly maxBytes: number;
  /** Files altogether, at least 1. */
  readonly files: number;
  /** Line that tells of lines that were lost, once others can be written again. */
  tellLost(count: number): string;
}

/** Makes one; nothing is opened before the first line. */
export function createRotatingFile({ path, maxBytes, files, tellLost }: RotatingFileParts): RotatingFile {
  let waiting: string[] = [];
  let waitingChars = 0;
  let lost = 0;
  let untold = 0;
  let closed = false;
  let handle: FileHandle | undefined;
  let size = 0;
  let working: Promise<void> | undefined;
  const end = new AbortController();

  const letGo = async (): Promise<void> => {
    const open = handle;
    handle = undefined;
    await open?.close();
  };

  /** Opens the file to go on with; what a crash has cut off there becomes a line of its own. */
  const reach = async (): Promise<FileHandle> => {
    if (handle !== undefined) return handle;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    handle = await open(path, 'a+', 0o600);
    ({ size } = await handle.stat());
    const last = Buffer.alloc(1);
    if (size > 0) await handle.read(last, 0, 1, size - 1);
    if (size > 0 && last[0] !== LINE_END) {
      await handle.appendFile('\n');
      size += 1;
    }
    return handle;
  };

  const moveAside = async (): Promise<void> => {
    await letGo();
    if (files === 1) await rm(path, { force: true });
    for (let number = files - 1; number > 0; number -= 1) {
      const from = number === 1 ? path : `${path}.${number - 1}`;
      await rename(from, `${path}.${number}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
  };

  /** Writes some lines, each file's share of them at once. @throws what the file system answers */
  const writeAll = async (lines: string[]): Promise<void> => {
    while (lines.length > 0) {
      let file = await reach();
      let share = '';
      let bytes = 0;
      let count = 0;
      for (const line of lines) {
        const more = Buffer.byteLength(line) + 1;
        if (size + bytes + more > maxBytes && size + bytes > 0) break;
        share += `${line}\n`;
        bytes += more;
        count += 1;
      }
      if (count === 0) {
        await moveAside();
        file = await reach();
        continue;
      }
      await file.appendFile(share);
      size += bytes;
      lines.splice(0, count);
    }
  };

  const work = async (): Promise<void> => {
    while (waiting.length > 0) {
      const lines = waiting;
      waiting = [];
      waitingChars = 0;
      const told = untold;
      untold = 0;
      if (told > 0) lines.unshift(tellLost(told));
      try {
        await writeAll(lines);
      } catch {
        const gone = lines.length - (told > 0 ? 1 : 0);
        lost += Math.max(0, gone);
        untold += told + Math.max(0, gone);
        await letGo().catch(() => undefined);
        if (!closed) await delay(RETRY_MS, end.signal);
      }
    }
    working = undefined;
  };

  return {
    write(line) {
      if (closed || waitingChars + line.length > MAX_WAITING_CHARS) {
        lost += 1;
        untold += 1;
        return;
      }
      waiting.push(line);
      waitingChars += line.length;
      working ??= work();
    },
    lost: () => lost,
    async close() {
      closed = true;
      end.abort();
      await working;
      await letGo().catch(() => undefined);
    },
  };
}
