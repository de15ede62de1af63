import { accessSync, closeSync, constants, mkdirSync, openSync, readdirSync, rmdirSync, writeSync } from 'node:fs';
import { readText } from '../proc.js';

/**
 * The control group file systems, as far as groups need them: a directory is a group, its files are made by the kernel.
 * Every call is synchronous: these files live in memory and answer in microseconds.
 */
export interface GroupTree {
  /** A file's text, or undefined when it is not there or not readable. */
  read(path: string): string | undefined;
  /** Writes to a file that exists; throws the system's error. */
  write(path: string, text: string): void;
  /** Makes a group; one that exists already is fine. Throws the system's error. */
  makeGroup(path: string): void;
  /** Removes a group without members and children; throws the system's error. */
  removeGroup(path: string): void;
  /** Names of the groups directly below; none when it does not exist. */
  childGroups(path: string): string[];
  /** True when the host may write this file or make groups in this directory. */
  isWritable(path: string): boolean;
  /** Sends SIGKILL; a process that is gone is fine. */
  killProcess(pid: number): void;
}

/** The control groups of this machine. */
export function createGroupTree(): GroupTree {
  return {
    read: readText,
    write(path, text) {
      // never creates: a file that the kernel does not offer is an error, not a new file; some may be written alone
      const fd = openSync(path, constants.O_WRONLY);
      try {
        writeSync(fd, text);
      } finally {
        closeSync(fd);
      }
    },
    makeGroup(path) {
      try {
        mkdirSync(path, { mode: 0o755 });
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
    },
    removeGroup: (path) => rmdirSync(path),
    childGroups(path) {
      try {
        return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
      } catch {
        return [];
      }
    },
    isWritable(path) {
      try {
        accessSync(path, constants.W_OK);
        return true;
      } catch {
        return false;
      }
    },
    killProcess(pid) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended meanwhile
      }
    },
  };
}

/** The system's word for an error, for example `EBUSY`; empty when it has none. */
export function errnoOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? '';
}

/** The number in a file that holds one; undefined for `max`, for no file, and for what is no number. */
export function readNumber(tree: GroupTree, path: string): number | undefined {
  const text = tree.read(path)?.trim();
  return text !== undefined && /^[0-9]+$/.test(text) ? Number(text) : undefined;
}

/** The number behind a word in a file of `word number` lines. */
export function readKeyed(tree: GroupTree, path: string, key: string): number | undefined {
  const line = tree.read(path)?.match(new RegExp(`^${key} ([0-9]+)$`, 'm'));
  return line?.[1] === undefined ? undefined : Number(line[1]);
}

/** Process ids of a group's members; those outside of the host's pid namespace, which read as 0, left out. */
export function readMembers(tree: GroupTree, groupDir: string): number[] {
  const text = tree.read(`${groupDir}/cgroup.procs`) ?? '';
  return text.split('\n').flatMap((line) => (/^[1-9][0-9]*$/.test(line) ? [Number(line)] : []));
}
