import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, truncateSync, writeSync } from 'node:fs';
import {
  advanceCursor,
  type ChainCursor,
  type ChainPosition,
  hashFromDisplay,
  hashToDisplay,
  retreatCursor,
} from '../../../src/sdk/index.js';

/** One line of the journal. `start` and `rollback` set the position, the others move it. */
interface JournalLine {
  event: 'start' | 'connect' | 'disconnect' | 'rollback';
  height: number;
  /** Display order, as explorers print it. */
  hash: string;
  /** Only of a disconnect: the block below, which is the position afterwards. */
  parent?: string;
}

/** What this module has handled, one JSON line each. Its position is read from these lines, so the two cannot disagree. */
export interface Journal {
  /** Where to go on; empty when nothing was ever handled. */
  readonly cursor: ChainCursor;
  start(position: ChainPosition): void;
  connected(block: ChainPosition): void;
  disconnected(block: ChainPosition, parent: Uint8Array): void;
  rolledBack(to: ChainPosition): void;
  /** Puts the file aside and begins a new one: the node is on another chain. */
  setAside(): void;
}

/** Opens the journal, or begins one. A last line that a crash cut short was never acknowledged, and goes. */
export function openJournal(path: string): Journal {
  let cursor = replay(readWholeLines(path));
  let file = openSync(path, 'a', 0o600);
  const append = (line: JournalLine): void => {
    writeSync(file, `${JSON.stringify(line)}\n`);
    // handled means on the disk: the host is asked for what follows this line, never again for it
    fsyncSync(file);
    cursor = moved(cursor, line);
  };
  const place = ({ height, hash }: ChainPosition) => ({ height, hash: hashToDisplay(hash) });
  return {
    get cursor() {
      return cursor;
    },
    start: (position) => append({ event: 'start', ...place(position) }),
    connected: (block) => append({ event: 'connect', ...place(block) }),
    disconnected: (block, parent) => append({ event: 'disconnect', ...place(block), parent: hashToDisplay(parent) }),
    rolledBack: (to) => append({ event: 'rollback', ...place(to) }),
    setAside() {
      closeSync(file);
      renameSync(path, `${path}.${Date.now()}`);
      file = openSync(path, 'a', 0o600);
      cursor = [];
    },
  };
}

function readWholeLines(path: string): string[] {
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  const end = text.lastIndexOf('\n') + 1;
  if (end < text.length) truncateSync(path, Buffer.byteLength(text.slice(0, end)));
  return text
    .slice(0, end)
    .split('\n')
    .filter((line) => line !== '');
}

function replay(lines: readonly string[]): ChainCursor {
  return lines.reduce<ChainCursor>((cursor, line) => moved(cursor, JSON.parse(line) as JournalLine), []);
}

function moved(cursor: ChainCursor, line: JournalLine): ChainCursor {
  const position = { hash: bytesOf(line.hash), height: line.height };
  switch (line.event) {
    case 'start':
      return [position];
    case 'connect':
      return advanceCursor(cursor, position);
    case 'disconnect':
      return retreatCursor(cursor, { hash: bytesOf(line.parent ?? ''), height: line.height - 1 });
    case 'rollback':
      return retreatCursor(cursor, position);
  }
}

function bytesOf(display: string): Uint8Array {
  const hash = hashFromDisplay(display);
  if (hash === undefined) throw new Error(`the journal is damaged: ${display} is no hash`);
  return hash;
}
