import { spawnSync } from 'node:child_process';
import type { ToolPresence } from '../toolchain.js';

/** Whether groff is here, which `man` sets its pages with. */
export function groffPresence(): ToolPresence {
  return spawnSync('groff', ['--version']).status === 0
    ? { available: true }
    : { available: false, reason: 'groff is not installed' };
}
