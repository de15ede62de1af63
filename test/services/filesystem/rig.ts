import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  FileMetadata,
  FilesystemServiceService,
  ReadFileResponse,
  WriteFileHeader,
  WriteFileRequest,
} from '../../../gen/ts/modhost/v1/filesystem.js';
import { HostError } from '../../../src/contract/error.js';
import type { CallContext, ServiceImpl } from '../../../src/contract/service.js';
import { createSystemClock } from '../../../src/core/clock.js';
import { createSilentLogger } from '../../../src/core/logger.js';
import { createDiskMeter } from '../../../src/process/disk-meter.js';
import { createModuleFiles, type ModuleFiles } from '../../../src/services/filesystem/module-files.js';
import { createFilesystemService } from '../../../src/services/filesystem/service.js';

export const MIB = 1_024 * 1_024;

/** The service over a real directory, without a wire. */
export interface FilesRig {
  service: ServiceImpl<typeof FilesystemServiceService>;
  files: ModuleFiles;
  /** The module's data directory. */
  root: string;
  /** Beside it, out of the module's reach. */
  outside: string;
  keepDir: string;
  read(path: string, offset?: bigint, length?: bigint): Promise<Buffer>;
  write(
    path: string,
    content: string | Uint8Array,
    header?: Partial<WriteFileHeader>,
  ): Promise<FileMetadata | undefined>;
  list(path?: string): Promise<string[]>;
  /** What lies in staging. */
  staged(): string[];
  dispose(): Promise<void>;
}

export interface FilesRigOptions {
  /** An existing directory to work in; default a new one. */
  dir?: string;
  totalBytes?: number;
  /** Whom the data directory belongs to. */
  uid?: number;
}

export async function createFilesRig({ dir, totalBytes = 512 * MIB, uid }: FilesRigOptions = {}): Promise<FilesRig> {
  const top = dir ?? mkdtempSync(join(tmpdir(), 'mhf-'));
  chmodSync(top, 0o711);
  const root = join(top, 'modules', 'probe');
  const outside = join(top, 'outside');
  const keepDir = join(top, 'files', 'probe');
  mkdirSync(root, { recursive: true, mode: 0o711 });
  chmodSync(root, 0o700);
  if (uid !== undefined) chownSync(root, uid, uid);
  const files = createModuleFiles({ root, keepDir, meter: createDiskMeter, clock: createSystemClock() });
  await files.prepare(createSilentLogger());
  const service = createFilesystemService({ files, totalBytes, log: createSilentLogger() });
  return {
    service,
    files,
    root,
    outside,
    keepDir,
    async read(path, offset = 0n, length = 0n) {
      const parts: Uint8Array[] = [];
      const pieces = service.readFile({ path, offset, length }, call()) as AsyncIterable<ReadFileResponse>;
      for await (const { content } of pieces) parts.push(content);
      return Buffer.concat(parts);
    },
    async write(path, content, header = {}) {
      const { metadata } = (await service.writeFile(messages(path, content, header), call())) as {
        metadata: FileMetadata | undefined;
      };
      return metadata;
    },
    async list(path = '') {
      const names: string[] = [];
      let pageToken = '';
      do {
        const page = (await service.listDirectory({ path, pageSize: 1_000, pageToken }, call())) as {
          entries: FileMetadata[];
          nextPageToken: string;
        };
        names.push(...page.entries.map((entry) => entry.path));
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      return names;
    },
    staged: () => readdirSync(join(keepDir, 'staging')),
    async dispose() {
      await files.close();
      if (dir === undefined) rmSync(top, { recursive: true, force: true });
    },
  };
}

/** The context of one call; it has no deadline. */
export function call(signal: AbortSignal = new AbortController().signal): CallContext {
  return { method: '/modhost.v1.FilesystemService/Test', signal, timeLeftMs: () => Infinity };
}

/** The messages of one write. */
export async function* messages(
  path: string,
  content: string | Uint8Array,
  header: Partial<WriteFileHeader> = {},
): AsyncGenerator<WriteFileRequest> {
  yield headerOf(path, header);
  if (content.length > 0) yield piece(typeof content === 'string' ? Buffer.from(content) : content);
}

export function headerOf(path: string, header: Partial<WriteFileHeader> = {}): WriteFileRequest {
  return { part: { $case: 'header', value: { path, sizeBytes: 0n, createOnly: false, ...header } } };
}

export function piece(value: Uint8Array): WriteFileRequest {
  return { part: { $case: 'content', value } };
}

/** The reason of a refusal, or `OK`. */
export async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'OK';
  } catch (error) {
    return error instanceof HostError ? error.reason : `not a HostError: ${error}`;
  }
}

/** Everything below a directory, by name: what it is, its inode, its times and its content. */
export function snapshot(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const stats = lstatSync(join(dir, name), { bigint: true });
      const content = stats.isFile() ? readFileSync(join(dir, name), 'latin1') : '';
      return `${name} ${stats.mode} ${stats.uid} ${stats.ino} ${stats.nlink} ${stats.mtimeNs} ${stats.ctimeNs} ${content}`;
    });
}
