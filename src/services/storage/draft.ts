import type { Tree } from './records.js';
import type { Seal } from './seal.js';

/** An entry as far as counting needs it. */
export interface Entry {
  /** Length of its value. */
  readonly valueBytes: number;
  readonly seal: Seal;
}

/** What becomes of one entry. */
export interface Change {
  readonly place: Buffer;
  /** Undefined when it is removed. */
  readonly entry: Entry | undefined;
  /** What is stored for it: seal and value. */
  readonly stored: Buffer | undefined;
}

/** A state of the storage that can be looked at. */
export interface View {
  tree(name: string): Tree | undefined;
  trees(): Iterable<Tree>;
  /** The entry at a place, as Latin-1 text of the physical key. @throws DATA_CORRUPT */
  entry(at: string): Entry | undefined;
}

/** Changes over a state, which show in it at once and are kept or dropped as a whole. */
export interface Draft extends View {
  /** The entries that change. */
  readonly changes: ReadonlyMap<string, Change>;
  /** The trees that change; undefined for one that is deleted. */
  readonly changedTrees: ReadonlyMap<string, Tree | undefined>;
  /** The tree as one that may be changed. */
  edit(tree: Tree): Tree;
  putTree(tree: Tree): void;
  dropTree(name: string): void;
  /** Puts or removes an entry of a tree and keeps its counts. */
  change(tree: Tree, keyBytes: number, change: Change): void;
  /** Tells what is stored at a place that nobody has read ahead. */
  know(place: Buffer, entry: Entry): void;
  /** Takes over all that another draft over this one changes. */
  adopt(other: Draft): void;
}

/** Makes a draft without changes over a state. */
export function createDraft(under: View): Draft {
  const changes = new Map<string, Change>();
  const changedTrees = new Map<string, Tree | undefined>();
  const known = new Map<string, Entry>();
  const draft: Draft = {
    changes,
    changedTrees,
    tree: (name) => (changedTrees.has(name) ? changedTrees.get(name) : under.tree(name)),
    *trees() {
      for (const tree of under.trees()) if (!changedTrees.has(tree.name)) yield tree;
      for (const tree of changedTrees.values()) if (tree !== undefined) yield tree;
    },
    entry(at) {
      const change = changes.get(at);
      return change === undefined ? (known.get(at) ?? under.entry(at)) : change.entry;
    },
    edit(tree) {
      const own = changedTrees.get(tree.name);
      if (own !== undefined) return own;
      const copy = { ...tree, sum: tree.sum.copy() };
      changedTrees.set(tree.name, copy);
      return copy;
    },
    putTree: (tree) => void changedTrees.set(tree.name, tree),
    dropTree: (name) => void changedTrees.set(name, undefined),
    change(tree, keyBytes, change) {
      const at = change.place.toString('latin1');
      const before = draft.entry(at);
      const counted = draft.edit(tree);
      if (before !== undefined) {
        counted.keys -= 1;
        counted.bytes -= keyBytes + before.valueBytes;
        counted.sum.remove(before.seal);
      }
      if (change.entry !== undefined) {
        counted.keys += 1;
        counted.bytes += keyBytes + change.entry.valueBytes;
        counted.sum.add(change.entry.seal);
      }
      changes.set(at, change);
    },
    know: (place, entry) => void known.set(place.toString('latin1'), entry),
    adopt(other) {
      for (const [at, change] of other.changes) changes.set(at, change);
      for (const [name, tree] of other.changedTrees) changedTrees.set(name, tree);
    },
  };
  return draft;
}
