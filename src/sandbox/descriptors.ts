import { readdirSync, readFileSync } from 'node:fs';

/** O_CLOEXEC on Linux, as /proc/self/fdinfo prints flags. */
const CLOEXEC = 0o2000000;

/**
 * Descriptors above 2 that every program started by this process would inherit. Node marks its own as close-on-exec; one
 * that came from whoever started the host may be open on anything, and a module must not get it.
 */
export function inheritableDescriptors(): number[] {
  const found: number[] = [];
  for (const entry of listDescriptors()) {
    const fd = Number(entry);
    if (fd > 2 && !isClosedOnExec(fd)) found.push(fd);
  }
  return found.sort((a, b) => a - b);
}

function listDescriptors(): string[] {
  try {
    return readdirSync('/proc/self/fd');
  } catch {
    return [];
  }
}

function isClosedOnExec(fd: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags === undefined || (Number.parseInt(flags, 8) & CLOEXEC) !== 0;
  } catch {
    // Gone since the listing: it was the listing's own.
    return true;
  }
}
