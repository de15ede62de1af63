import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { readText } from './proc.js';

/** Sockets that a canary tries at most: one is enough to know. */
const MAX_SOCKETS = 16;
/** `__SO_ACCEPTCON` of the kernel, as /proc/net/unix prints the flags of a listener. */
const LISTENS = 0x0001_0000;
/** Connecting asks for the right to write (unix(7)), passing a directory for the right to search. */
const WRITABLE = 0o002;
const SEARCHABLE = 0o001;

/**
 * Listeners in the file system that every user of this machine may connect to, for example that of D-Bus: a module that
 * sees the machine's paths reaches them, whatever its user.
 *
 * @see proc_pid_net(5), unix(7)
 */
export function findOpenSockets(): string[] {
  const found = new Set<string>();
  for (const line of (readText('/proc/net/unix') ?? '').split('\n')) {
    const [, , , flags = '', , , , path = ''] = line.split(/\s+/);
    if (!path.startsWith('/') || (Number.parseInt(flags, 16) & LISTENS) === 0) continue;
    if (isOpen(path)) found.add(path);
    if (found.size >= MAX_SOCKETS) break;
  }
  return [...found];
}

function isOpen(path: string): boolean {
  try {
    if ((statSync(path).mode & WRITABLE) === 0) return false;
    for (let dir = dirname(path); ; dir = dirname(dir)) {
      if ((statSync(dir).mode & SEARCHABLE) === 0) return false;
      if (dir === '/') return true;
    }
  } catch {
    return false;
  }
}
