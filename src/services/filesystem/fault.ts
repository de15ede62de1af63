import { type ErrorReason, HostError } from '../../contract/error.js';

/** What the kernel's refusals mean to a module. @see errno(3) */
const REASONS: Readonly<Record<string, ErrorReason>> = {
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_FOUND',
  EEXIST: 'ALREADY_EXISTS',
  EISDIR: 'INVALID_REQUEST',
  ENOTEMPTY: 'PRECONDITION_FAILED',
  // the module took the host's right to read or write what is its own
  EACCES: 'PRECONDITION_FAILED',
  EPERM: 'PRECONDITION_FAILED',
  // a link, or a loop of them
  ELOOP: 'PATH_ESCAPE',
  // a pipe without another end, a socket, a device without a driver
  ENXIO: 'PATH_ESCAPE',
  ENODEV: 'PATH_ESCAPE',
  // another file system is mounted there
  EXDEV: 'PATH_ESCAPE',
  EBUSY: 'PATH_ESCAPE',
  ENAMETOOLONG: 'PATH_ESCAPE',
  ENOSPC: 'DISK_FULL',
  EDQUOT: 'DISK_FULL',
  EROFS: 'READ_ONLY',
  EFBIG: 'QUOTA_EXCEEDED',
  EMLINK: 'QUOTA_EXCEEDED',
  EMFILE: 'TOO_MANY_CALLS',
  ENFILE: 'TOO_MANY_CALLS',
};

const SENTENCES: Partial<Record<ErrorReason, string>> = {
  NOT_FOUND: 'there is nothing at this path',
  ALREADY_EXISTS: 'something is at this path already',
  INVALID_REQUEST: 'a directory is at this path',
  PRECONDITION_FAILED: 'the directory is not empty, or the module has closed it to the host: change its mode',
  PATH_ESCAPE: 'the path passes or ends at something that is neither file nor directory of the module',
  DISK_FULL: 'the disk is full',
  READ_ONLY: 'the file system is read-only at this moment',
  QUOTA_EXCEEDED: 'the file system takes no more of these',
  TOO_MANY_CALLS: 'the host has too many files open at this moment',
};

/** Wait before a call that found too many open files is worth repeating. */
const RETRY_MS = 100;

/** The kernel's word for an error; undefined when it is none of the kernel's. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** What a failure of the file system means to a module; a HostError stays itself. No path of the host is told. */
export function faultOf(error: unknown): HostError {
  if (error instanceof HostError) return error;
  const reason = REASONS[codeOf(error) ?? ''];
  if (reason === undefined) return HostError.from(error);
  return new HostError(reason, SENTENCES[reason] ?? reason, {
    cause: error,
    ...(reason === 'TOO_MANY_CALLS' ? { retryAfterMs: RETRY_MS } : {}),
  });
}
