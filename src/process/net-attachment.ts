import type { ChildProcess } from 'node:child_process';
import type { Socket as UdpSocket } from 'node:dgram';
import type { Server } from 'node:net';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { type Namespace, namespaceOf, spawnInNamespace } from './net-namespace.js';
import { createInboundRelay, type InboundRelay, killProgram } from './net-relay.js';
import type { FromNamespace, NetListener, ToNamespace } from './net-wire.js';

/** How long the program may take until the listeners are open, milliseconds; it takes 100 to 500. */
const OPEN_TIMEOUT_MS = 20_000;
/** What is kept of the program's last words, characters. */
const MAX_WORDS = 2_048;

/** What one module's network is made of. */
export interface AttachmentOptions {
  /** A process of the sandbox, held at its gate: its network namespace is the module's. */
  readonly sandboxPid: number;
  readonly listeners: readonly NetListener[];
  /** Hears of each as it is open; nothing of the module runs yet. */
  readonly onListener: (key: string, handle: Server | UdpSocket) => void;
  /** True when connections from outside will be carried in. */
  readonly inbound: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Connections from outside cannot be carried in any more. */
  readonly onBroken: (error: HostError) => void;
}

/** What holds the network of one module open. */
export interface NetworkAttachment {
  /** Undefined without inbound connections. */
  readonly relay: InboundRelay | undefined;
  /** Closes the listeners and ends the program; connections are their holders' to close. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens listeners in the network namespace of a sandbox. The kernel lets a thread into a namespace, and Node has no call
 * for it: a small program enters, opens them, and gives the handles to the host.
 *
 * @throws HostError NETWORK_UNAVAILABLE; nothing is left behind then
 */
export async function openNetworkAttachment(options: AttachmentOptions): Promise<NetworkAttachment> {
  const namespace = namespaceOf(options.sandboxPid);
  const handles: (Server | UdpSocket)[] = [];
  const closeAll = (): void => {
    for (const handle of handles) closeHandle(handle);
  };
  let child: ChildProcess;
  try {
    child = await openIn(namespace, options.listeners, options.inbound, (key, handle) => {
      handles.push(handle);
      options.onListener(key, handle);
    });
  } catch (error) {
    closeAll();
    throw error;
  }
  const relay = options.inbound
    ? createInboundRelay({
        first: child,
        again: () => openIn(namespace, [], true, () => undefined),
        clock: options.clock,
        log: options.log,
        onBroken: options.onBroken,
      })
    : undefined;
  let closing: Promise<void> | undefined;
  return {
    relay,
    close() {
      closing ??= (async () => {
        closeAll();
        await relay?.close();
        await killProgram(child);
      })();
      return closing;
    },
  };
}

/** Starts the program and waits until everything is open. */
async function openIn(
  namespace: Namespace,
  listeners: readonly NetListener[],
  stay: boolean,
  onListener: (key: string, handle: Server | UdpSocket) => void,
): Promise<ChildProcess> {
  const child = spawnInNamespace(namespace);
  let words = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-MAX_WORDS);
  });
  let timer: NodeJS.Timeout | undefined;
  let onMessage: ((message: FromNamespace, handle: unknown) => void) | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string, cause?: unknown): void =>
        reject(new HostError('NETWORK_UNAVAILABLE', why, cause === undefined ? {} : { cause }));
      timer = setTimeout(() => fail(`the listeners were not open after ${OPEN_TIMEOUT_MS} ms`), OPEN_TIMEOUT_MS);
      child.once('error', (cause) => fail(`the network namespace cannot be entered: ${cause.message}`, cause));
      child.once('close', (code, signal) => {
        const last = words.trim().split('\n').slice(-3).join(' | ');
        fail(`the network namespace could not be set up (${signal ?? `code ${code}`}): ${last}`);
      });
      let missing = listeners.length;
      let told = false;
      onMessage = (message, handle) => {
        if (message.kind === 'listener') {
          onListener(message.key, handle as Server | UdpSocket);
          missing -= 1;
        } else if (message.kind === 'failed') fail(`listener ${message.key} could not be opened: ${message.code}`);
        else if (message.kind === 'opened') told = true;
        // a handle takes a turn of its own to become a listener: the last word may arrive before it
        if (told && missing === 0) resolve();
      };
      child.on('message', onMessage);
      child.send({ kind: 'open', namespace: namespace.name, listeners, stay } satisfies ToNamespace, (error) => {
        if (error !== null) fail(`the network namespace cannot be entered: ${error.message}`, error);
      });
    });
  } catch (error) {
    await killProgram(child);
    throw error;
  } finally {
    clearTimeout(timer);
    // what it tells from here on is the relay's to hear
    if (onMessage !== undefined) child.off('message', onMessage);
  }
  return child;
}

function closeHandle(handle: Server | UdpSocket): void {
  try {
    handle.close();
  } catch {
    // closed by its holder
  }
}
