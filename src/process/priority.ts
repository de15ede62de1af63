import { writeFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { threadsOf } from './members.js';

/** The lowest priority: any other program that wants the processor gets it first. @see nice(2) */
const LOWEST = 19;

/**
 * Gives every thread of these processes the lowest priority; what they start inherits it. Works for any host, and cannot
 * be taken back by one that is not root.
 */
export function lowerPriority(pids: readonly number[]): void {
  for (const pid of pids) {
    for (const thread of threadsOf(pid)) {
      try {
        if (getPriority(Number(thread)) !== LOWEST) setPriority(Number(thread), LOWEST);
      } catch {
        // it has ended, or has another user
      }
    }
    try {
      // where sessions share the processor by session, priorities count only within each (sched(7), "autogroup")
      writeFileSync(`/proc/${pid}/autogroup`, String(LOWEST));
    } catch {
      // no such feature, or not allowed
    }
  }
}
