import { type ChildProcess, type StdioPipe, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { HostError } from '../contract/error.js';
import type { ConfinedCommand } from '../sandbox/engine.js';

/** A process that was spawned, with the pipes that a capture and a runner need. */
export interface Spawned {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Where the chain tells of the confined tree; undefined when the command has no such descriptor. */
  readonly status: Readable | undefined;
}

/**
 * Spawns one command: standard input empty, a session of its own so that Ctrl-C at the host's terminal does not reach it,
 * exactly the command's environment. To be called on the main thread: the death signal follows the thread.
 *
 * @throws HostError START_FAILED with `errno` in details
 */
export async function spawnCommand(command: ConfinedCommand): Promise<Spawned> {
  const highest = Math.max(2, command.statusFd ?? 0, ...command.inputs.keys());
  const isPiped = (fd: number): boolean => fd === command.statusFd || command.inputs.has(fd);
  const extra = Array.from({ length: highest - 2 }, (_, i): StdioPipe | 'ignore' =>
    isPiped(i + 3) ? 'pipe' : 'ignore',
  );
  const child = spawn(command.file, [...command.args], {
    cwd: command.cwd,
    env: { ...command.env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...extra],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new HostError('START_FAILED', `${command.file} could not be started: ${cause.code ?? cause.message}`, {
          details: { errno: cause.code ?? '' },
          cause,
        }),
      );
    });
  });
  for (const [fd, bytes] of command.inputs) feed(child.stdio[fd] as Writable, bytes);
  const status = command.statusFd === undefined ? undefined : (child.stdio[command.statusFd] as Readable);
  const { pid, stdout, stderr } = child;
  if (pid === undefined || stdout === null || stderr === null) {
    throw new HostError('INTERNAL', 'a spawned process has no pid or pipes');
  }
  return { child, pid, stdout, stderr, status };
}

function feed(pipe: Writable, bytes: Uint8Array): void {
  // A child that dies before it has read breaks the pipe; its exit tells why.
  pipe.on('error', () => undefined);
  pipe.end(bytes);
}
