import { HostError } from '../contract/error.js';
import { describeExit, type ExitReport } from './exit.js';

/**
 * Why a module's start failed, or its process ended, in one word: `details.cause` of the error. The sentence beside it is
 * for people and names the cure.
 */
export type Cause =
  | 'wrong-architecture'
  | 'foreign-program'
  | 'no-program'
  | 'interpreter-missing'
  | 'loader-missing'
  | 'library-missing'
  | 'not-executable'
  | 'not-readable'
  | 'noexec-mount'
  | 'unsearchable-parent'
  | 'launcher'
  | 'forbidden-call'
  | 'out-of-memory'
  | 'file-too-large'
  | 'exited'
  | 'killed'
  | 'handshake-refused'
  | 'never-connected'
  | 'no-call'
  | 'no-handshake'
  | 'not-ready';

/** What the host has seen of a spawn on its socket until it ended. */
export interface SocketFacts {
  /** Connections since the start. */
  readonly connections: number;
  /** True once a call has arrived that HTTP/2 and gRPC let through. */
  readonly called: boolean;
  /** The last handshake that was refused; undefined when none was, or one succeeded afterwards. */
  readonly refused: HostError | undefined;
  /** True once the handshake was good. */
  readonly opened: boolean;
  readonly ready: boolean;
  /** Last text of SessionService.Starting; empty when there was none. */
  readonly starting: string;
}

/** Lines of standard error that a sentence repeats; the whole of what is kept is in `details.stderr`. */
const SAID_LINES = 3;
/** Longest part of them, characters: a sentence is read whole. */
const MAX_SAID_CHARS = 240;

/** What standard error says of a program that could not be run whole, and what helps. */
const WORDS: readonly (readonly [RegExp, Cause, string])[] = [
  [
    /^(?:\/usr\/bin\/)?env: .*?['‘"]?([^'’":\s]+)['’"]?: No such file or directory/m,
    'interpreter-missing',
    'the interpreter that its first line asks env for is not on this machine: install it, or use [run] command with one of the operator’s [interpreters]',
  ],
  [
    /error while loading shared libraries: ([^:\s]+)/,
    'library-missing',
    'a shared library is not visible in the sandbox: ship it with the module, link it statically, or install it below /usr',
  ],
  [
    /version [`'‘]((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)['’] not found/,
    'library-missing',
    'it was built for a newer system library than this machine has: build it on an older release, or link it statically',
  ],
];

/**
 * What the end of a process means, whoever waited for it. Before Ready what was seen on the socket is part of the cause.
 *
 * @returns HostError MEMORY_LIMIT; before Ready the reason of a refused handshake; else MODULE_CRASHED. `details` has
 *   `cause`, `code` or `signal`, and `stderr`: the last 4 KiB
 */
export function diagnoseExit(module: string, exit: ExitReport, socket: SocketFacts): HostError {
  const how = describeExit(exit);
  const when = socket.ready ? '' : ' before it was Ready';
  const tell = (reason: HostError['reason'], cause: Cause, text: string): HostError =>
    new HostError(reason, `${module} ${how}${when}${text}${said(exit.stderrTail)}`, {
      details: {
        cause,
        ...(exit.signal === null ? { code: exit.code ?? 0 } : { signal: exit.signal }),
        stderr: exit.stderrTail,
      },
    });
  if ((exit.oomKills ?? 0) > 0) return tell('MEMORY_LIMIT', 'out-of-memory', '; raise memory_mb, or mend a leak');
  switch (exit.signal) {
    case 'SIGSYS':
      return tell('MODULE_CRASHED', 'forbidden-call', ': it made a system call that the sandbox forbids');
    case 'SIGXFSZ':
      return tell('MODULE_CRASHED', 'file-too-large', ': a file of it reached its limit; raise data_mb');
    case null:
      break;
    default:
      return tell('MODULE_CRASHED', 'killed', '');
  }
  if (!socket.ready && socket.refused !== undefined) {
    const { reason, message } = socket.refused;
    return tell(reason, 'handshake-refused', `: its handshake was refused: ${message}`);
  }
  if (!socket.ready && exit.code !== 0) {
    for (const [pattern, cause, cure] of WORDS) {
      const found = pattern.exec(exit.stderrTail)?.[1];
      if (found !== undefined) return tell('MODULE_CRASHED', cause, `: ${found}: ${cure}`);
    }
  }
  const idle = exit.code === 0 && !socket.ready ? ': a module runs until it is asked to stop' : '';
  return tell('MODULE_CRASHED', 'exited', idle);
}

/** What it means that a module was not Ready in time. @returns HostError STARTUP_TIMEOUT with `cause` and `timeoutMs` */
export function diagnoseTimeout(module: string, timeoutMs: number, socket: SocketFacts, stderrTail: string): HostError {
  const tell = (cause: Cause, text: string): HostError =>
    new HostError('STARTUP_TIMEOUT', `${module} was not Ready within ${timeoutMs} ms: ${text}${said(stderrTail)}`, {
      details: { cause, timeoutMs, stderr: stderrTail },
    });
  if (socket.opened) {
    return socket.starting === ''
      ? tell('not-ready', 'it made its handshake, but never called SessionService.Ready')
      : tell(
          'not-ready',
          `it last said that it was busy with: ${socket.starting}; raise start_timeout_ms if that takes longer`,
        );
  }
  if (socket.refused !== undefined) {
    return tell('handshake-refused', `its handshake was refused: ${socket.refused.reason}: ${socket.refused.message}`);
  }
  if (socket.connections === 0) {
    return tell('never-connected', 'it never connected to the socket that MODHOST_SOCKET names');
  }
  if (!socket.called) {
    return tell('no-call', 'it connected, but no call arrived: is its client’s :authority localhost?');
  }
  return tell('no-handshake', 'it made calls, but never SessionService.Handshake');
}

/** What programs say of a file that they could not execute. */
const ERRNO: readonly (readonly [RegExp, string])[] = [
  [/no such file|not found/i, 'ENOENT'],
  [/permission denied/i, 'EACCES'],
  [/exec format error/i, 'ENOEXEC'],
];

/**
 * What the last words of a launch chain mean whose program never ran.
 *
 * @param words one line
 * @returns HostError START_FAILED with `cause`, `errno` (may be empty) and `stderr`
 */
export function diagnoseLaunch(module: string, exit: ExitReport, words: string): HostError {
  const errno = ERRNO.find(([pattern]) => pattern.test(words))?.[1] ?? '';
  const hints: Readonly<Record<string, string>> = {
    ENOENT: ' (the program, its loader, or the interpreter in its first line is missing)',
    EACCES: ' (the program is not executable for the module’s user, or its file system is mounted noexec)',
  };
  return new HostError(
    'START_FAILED',
    `${module} ${describeExit(exit)} before its program ran: ${words}${hints[errno] ?? ''}`,
    { details: { module, cause: 'launcher', errno, stderr: exit.stderrTail } },
  );
}

/** A program that cannot be executed, known before anything runs. @returns HostError START_FAILED */
export function refuseProgram(path: string, cause: Cause, errno: string, text: string): HostError {
  return new HostError('START_FAILED', `${path}: ${errno}: ${text}`, { details: { entryPoint: path, cause, errno } });
}

function said(stderrTail: string): string {
  const lines = stderrTail.trim().split('\n').slice(-SAID_LINES).join(' | ');
  if (lines === '') return '';
  return `; it last said: ${lines.length > MAX_SAID_CHARS ? `… ${lines.slice(-MAX_SAID_CHARS)}` : lines}`;
}
