import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Call, numbersOf, stringsOf } from './strace.js';

interface FileNode {
  kind: 'file';
  content: Buffer;
  /** What the last sync has brought to the disk. */
  synced: Buffer;
}

interface Folder {
  kind: 'folder';
  names: Map<string, Node>;
  synced: Map<string, Node>;
}

type Node = FileNode | Folder;

/**
 * A disk that forgets all that was not synced: bytes of files behind their last sync, and names in directories behind the
 * last sync of the directory. It is fed with the calls of a program, and can be laid out as it would be found after a power
 * cut at any of them.
 */
export interface ForgetfulDisk {
  /** Takes the next call. */
  take(call: Call): void;
  /** Lays out what would be found now. */
  layOut(dir: string): void;
  /** Files whose bytes are not all synced, by path. */
  unsynced(): string[];
}

/** Makes a disk of which only what is below `root` is looked at; `root` itself is there. */
export function createForgetfulDisk(root: string): ForgetfulDisk {
  const top: Folder = { kind: 'folder', names: new Map(), synced: new Map() };
  const open = new Map<number, { node: Node; offset: number }>();
  const folderOf = (path: string): Folder | undefined => {
    if (path === root) return top;
    if (!path.startsWith(`${root}/`)) return undefined;
    const parent = folderOf(dirname(path));
    const node = parent?.names.get(basename(path));
    return node?.kind === 'folder' ? node : undefined;
  };
  const find = (path: string): Node | undefined =>
    path === root ? top : folderOf(dirname(path))?.names.get(basename(path));
  const write = (node: FileNode, bytes: Buffer, at: number): void => {
    const grown = Buffer.alloc(Math.max(node.content.byteLength, at + bytes.byteLength));
    node.content.copy(grown);
    bytes.copy(grown, at);
    node.content = grown;
  };
  const handlers: Record<string, (call: Call) => void> = {
    mkdir(call) {
      const path = String(stringsOf(call)[0]);
      folderOf(dirname(path))?.names.set(basename(path), { kind: 'folder', names: new Map(), synced: new Map() });
    },
    openat(call) {
      const path = String(stringsOf(call)[0]);
      let node = find(path);
      if (node === undefined && call.args.includes('O_CREAT')) {
        const parent = folderOf(dirname(path));
        if (parent !== undefined) {
          node = { kind: 'file', content: Buffer.alloc(0), synced: Buffer.alloc(0) };
          parent.names.set(basename(path), node);
        }
      }
      if (node === undefined) return void open.delete(call.result);
      if (node.kind === 'file' && call.args.includes('O_TRUNC')) node.content = Buffer.alloc(0);
      open.set(call.result, { node, offset: 0 });
    },
    close: (call) => void open.delete(Number(call.args)),
    write(call) {
      const file = open.get(Number.parseInt(call.args, 10));
      if (file?.node.kind !== 'file') return;
      const bytes = (stringsOf(call)[0] ?? Buffer.alloc(0)).subarray(0, call.result);
      write(file.node, bytes, file.offset);
      file.offset += bytes.byteLength;
    },
    pwrite64(call) {
      const file = open.get(Number.parseInt(call.args, 10));
      if (file?.node.kind !== 'file') return;
      write(file.node, (stringsOf(call)[0] ?? Buffer.alloc(0)).subarray(0, call.result), numbersOf(call).at(-1) ?? 0);
    },
    fsync: sync,
    fdatasync: sync,
    rename(call) {
      const [from = '', to = ''] = stringsOf(call).map(String);
      const node = find(from);
      if (node === undefined) return;
      folderOf(dirname(from))?.names.delete(basename(from));
      folderOf(dirname(to))?.names.set(basename(to), node);
    },
    unlink(call) {
      const path = String(stringsOf(call)[0]);
      folderOf(dirname(path))?.names.delete(basename(path));
    },
  };
  handlers.rmdir = handlers.unlink as (call: Call) => void;

  let taken = 0;
  /** What was there when the call began is on the disk when it has ended; what was written in between may not be. */
  function sync(call: Call): void {
    const file = open.get(Number(call.args));
    if (file === undefined) return;
    const { node } = file;
    if (node.kind === 'file') node.synced = before(node, call) ?? node.content;
    else node.synced = new Map(node.names);
  }
  /** States of each file after its writes, by the number of the call. */
  const past = new Map<FileNode, { at: number; content: Buffer }[]>();
  function before(node: FileNode, { began }: Call): Buffer | undefined {
    return past.get(node)?.findLast(({ at }) => at <= began)?.content;
  }

  const layOut = (folder: Folder, dir: string): void => {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const [name, node] of folder.synced) {
      if (node.kind === 'folder') layOut(node, join(dir, name));
      else writeFileSync(join(dir, name), node.synced, { mode: 0o600 });
    }
  };
  const list = (folder: Folder, dir: string): string[] =>
    [...folder.names].flatMap(([name, node]) => {
      const path = join(dir, name);
      if (node.kind === 'folder') return list(node, path);
      return node.content.equals(node.synced) ? [] : [path];
    });

  return {
    take(call) {
      taken += 1;
      if (call.result < 0) return;
      // the forms with a directory before the path do the same here, where every path is whole
      handlers[call.name === 'openat' ? call.name : call.name.replace(/at2?$/, '')]?.(call);
      const written = /^p?write/.test(call.name) ? open.get(Number.parseInt(call.args, 10))?.node : undefined;
      if (written?.kind !== 'file') return;
      const states = past.get(written) ?? [];
      states.push({ at: taken, content: written.content });
      past.set(written, states);
    },
    layOut: (dir) => layOut(top, dir),
    unsynced: () => list(top, root),
  };
}
