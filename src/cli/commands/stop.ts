import { existsSync } from 'node:fs';
import type { StopResponse } from '../../../gen/ts/modhost/admin/v1/admin.js';
import { callUnary } from '../../client/admin-client.js';
import { HostError } from '../../contract/error.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withProgress } from '../progress.js';
import { findAdminSocket, withHost } from '../reach.js';

/** How often the end of the host is looked for, milliseconds. */
const LOOK_MS = 50;
/** A host stops within 15 s; some more, for a busy machine. */
const MAX_WAIT_MS = 20_000;

/** Time between the end of the socket and that of its process, milliseconds. */
const GRACE_MS = 2_000;

/** `modhost stop`: asks the host to stop, and waits until it is gone. */
export async function stop(context: CommandContext, flags: AskFlags): Promise<number> {
  const socket = findAdminSocket(flags, context.env);
  const { pid } = await withHost(flags, context.env, (client) =>
    callUnary<StopResponse>((done) => client.admin.stop({ timeoutMs: 0 }, done)),
  );
  await withProgress(context.terminal, 'stopping modules and host', untilGone(pid, socket));
  if (flags.json === true) sayJson(context, { pid, stopped: true });
  else context.terminal.say(`the host (pid ${pid}) has stopped`);
  return EXIT.ok;
}

/** The host may live in another PID namespace, where its number means nothing here: then the socket tells. */
async function untilGone(pid: number, socket: string): Promise<void> {
  const began = performance.now();
  let socketGoneAt: number | undefined;
  while (isAlive(pid)) {
    const now = performance.now();
    if (socketGoneAt === undefined && !existsSync(socket)) socketGoneAt = now;
    if (socketGoneAt !== undefined && now - socketGoneAt > GRACE_MS) return;
    if (now - began > MAX_WAIT_MS) {
      throw new HostError('DEADLINE_EXCEEDED', `the host (pid ${pid}) is still there; its log says what it waits for`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
