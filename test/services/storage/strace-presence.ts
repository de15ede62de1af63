import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ToolPresence } from '../../toolchain.js';

/** Whether strace is here and may trace: a container may forbid it. */
export async function stracePresence(): Promise<ToolPresence> {
  try {
    await promisify(execFile)('strace', ['-f', '-o', '/dev/null', 'true']);
    return { available: true };
  } catch (error) {
    return { available: false, reason: `strace cannot trace here: ${String(error)}` };
  }
}
