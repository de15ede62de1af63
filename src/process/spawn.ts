import { type ChildProcess, type StdioPipe, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { HostError } from '../contract/error.js';
import type { ConfinedCommand } from '../sandbox/engine.js';
import type { GateEnds } from './start-gate.js';

/** A process that was spawned, with the pipes that a capture and a runner need. */
export interface Spawned {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** The start gate; undefined when the command has none. */
  readonly gate: GateEnds | undefined;
}

/**
 * Spawns one command: standard input empty, a session of its own so that Ctrl-C at the host's terminal does not reach it,
 * exactly the command's environment. To be called on the main thread: the death signal follows the thread.
 *
 * @throws HostError START_FAILED with `errno` in details
 */
export async function spawnCommand(command: ConfinedCommand): Promise<Spawned> {
  const gateFds = command.gate === undefined ? [] : [command.gate.readyFd, command.gate.goFd];
  const piped = new Set([...command.inputs.keys(), ...gateFds]);
  const extra = Array.from({ length: Math.max(2, ...piped) - 2 }, (_, i): StdioPipe | 'ignore' =>
    piped.has(i + 3) ? 'pipe' : 'ignore',
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
  const { pid, stdout, stderr } = child;
  if (pid === undefined || stdout === null || stderr === null) {
    throw new HostError('INTERNAL', 'a spawned process has no pid or pipes');
  }
  return { child, pid, stdout, stderr, gate: gateOf(child, command) };
}

function gateOf({ stdio }: ChildProcess, { gate }: ConfinedCommand): GateEnds | undefined {
  if (gate === undefined) return undefined;
  const ends = { ready: stdio[gate.readyFd] as Readable, go: stdio[gate.goFd] as Writable };
  // A chain that dies breaks the pipes; its exit tells why.
  for (const end of [ends.ready, ends.go]) end.on('error', () => undefined);
  return ends;
}

function feed(pipe: Writable, bytes: Uint8Array): void {
  // A child that dies before it has read breaks the pipe; its exit tells why.
  pipe.on('error', () => undefined);
  pipe.end(bytes);
}
