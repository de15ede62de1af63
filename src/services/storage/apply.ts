import { HostError } from '../../contract/error.js';
import type { Breath } from './breath.js';
import { createDraft, type Draft, type View } from './draft.js';
import { corrupt } from './failure.js';
import { ENTRY_PREFIX_BYTES, entryKey, entryRange, type KeyRange } from './layout.js';
import { MAX_RANGE_KEYS, MAX_STORAGE_KEYS, MAX_STORAGE_TREES } from './limits.js';
import type { Tree } from './records.js';
import { SealSum, sealed, sealOf, unsealed } from './seal.js';

/** What must hold of one key before a batch. */
export interface Precondition {
  readonly tree: string;
  readonly key: Uint8Array;
  /** The key is there, is not there, or has exactly this value. */
  readonly holds: boolean | Uint8Array;
}

/** One step of a batch. */
export type Step =
  | { readonly kind: 'put'; readonly tree: string; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly tree: string; readonly key: Uint8Array }
  | { readonly kind: 'range'; readonly tree: string; readonly start: Uint8Array; readonly end: Uint8Array };

/** What one request does to the storage, all of it or nothing. */
export type Work =
  | { readonly kind: 'write'; readonly preconditions: readonly Precondition[]; readonly steps: readonly Step[] }
  | { readonly kind: 'openTree'; readonly name: string; readonly onCreated?: () => void }
  | { readonly kind: 'deleteTree'; readonly name: string }
  | { readonly kind: 'setQuota'; readonly name: string; readonly quotaBytes: number };

/** What applying a request needs beside the state. */
export interface ApplyParts {
  /** The module's total, bytes. */
  readonly quotaBytes: number;
  /** Number that a new tree gets. */
  readonly nextTree: number;
  readonly breath: Breath;
  /** Stored entries of a range, in pieces. */
  read(range: KeyRange): AsyncIterable<[Buffer, Buffer][]>;
}

/** A tree that must be there. @throws NOT_FOUND */
export function requireTree({ tree }: Pick<View, 'tree'>, name: string): Tree {
  const found = tree(name);
  if (found === undefined) throw new HostError('NOT_FOUND', 'there is no tree of this name; OpenTree creates it');
  return found;
}

/** True for a request that is written by itself: what it touches is not known before. */
export function isAlone(work: Work): boolean {
  return work.kind !== 'write' || work.steps.some(({ kind }) => kind === 'range');
}

/** Places of all entries that a request names, so that they can be read ahead. */
export function* placesOf(work: Work, view: View): Generator<Buffer> {
  if (work.kind !== 'write') return;
  for (const named of [work.preconditions, work.steps]) {
    for (const one of named) {
      const tree = 'key' in one ? view.tree(one.tree) : undefined;
      if (tree !== undefined && 'key' in one) yield entryKey(tree.id, one.key);
    }
  }
}

/**
 * What a request changes, over the state that it finds; the state itself stays as it is.
 *
 * @throws NOT_FOUND, PRECONDITION_FAILED, QUOTA_EXCEEDED, OUT_OF_RANGE, DATA_CORRUPT
 */
export async function applyWork(work: Work, under: View, parts: ApplyParts): Promise<Draft> {
  const draft = createDraft(under);
  if (work.kind === 'openTree') openTree(draft, work, parts.nextTree);
  else if (work.kind === 'deleteTree') draft.dropTree(requireTree(draft, work.name).name);
  else if (work.kind === 'setQuota') draft.edit(requireTree(draft, work.name)).quota = work.quotaBytes;
  else {
    await assertHolds(work.preconditions, draft, parts.breath);
    await applySteps(work.steps, draft, parts);
    assertQuota(under, draft, parts.quotaBytes);
  }
  return draft;
}

function openTree(draft: Draft, { name, onCreated }: Work & { kind: 'openTree' }, id: number): void {
  if (draft.tree(name) !== undefined) return;
  if ([...draft.trees()].length >= MAX_STORAGE_TREES) {
    throw new HostError('QUOTA_EXCEEDED', `a module has at most ${MAX_STORAGE_TREES} trees`);
  }
  onCreated?.();
  draft.putTree({ name, id, quota: 0, keys: 0, bytes: 0, sum: new SealSum() });
}

async function assertHolds(preconditions: readonly Precondition[], view: View, breath: Breath): Promise<void> {
  for (const [index, { tree, key, holds }] of preconditions.entries()) {
    const place = entryKey(requireTree(view, tree).id, key);
    const entry = view.entry(place.toString('latin1'));
    const isHeld =
      typeof holds === 'boolean'
        ? (entry !== undefined) === holds
        : entry?.valueBytes === holds.byteLength && sealOf(place, holds).equals(entry.seal);
    if (!isHeld) {
      throw new HostError('PRECONDITION_FAILED', `precondition ${index} does not hold; nothing was written`, {
        details: { index },
      });
    }
    await breath();
  }
}

async function applySteps(steps: readonly Step[], draft: Draft, parts: ApplyParts): Promise<void> {
  let ranged = 0;
  for (const step of steps) {
    const tree = requireTree(draft, step.tree);
    if (step.kind === 'range') ranged += await removeRange(step, tree, draft, parts, MAX_RANGE_KEYS - ranged);
    else {
      const place = entryKey(tree.id, step.key);
      if (step.kind === 'put') {
        const seal = sealOf(place, step.value);
        const entry = { valueBytes: step.value.byteLength, seal };
        draft.change(tree, step.key.byteLength, { place, entry, stored: sealed(seal, step.value) });
      } else {
        draft.change(tree, step.key.byteLength, { place, entry: undefined, stored: undefined });
      }
    }
    await parts.breath();
  }
}

/** @returns how many keys it removed */
async function removeRange(
  { start, end }: { start: Uint8Array; end: Uint8Array },
  tree: Tree,
  draft: Draft,
  { read, breath }: ApplyParts,
  most: number,
): Promise<number> {
  const range = entryRange(tree.id, start, end);
  let removed = 0;
  const remove = (place: Buffer): void => {
    removed += 1;
    if (removed > most) {
      throw new HostError('OUT_OF_RANGE', `the ranges of one batch remove at most ${MAX_RANGE_KEYS} keys`);
    }
    draft.change(tree, place.byteLength - ENTRY_PREFIX_BYTES, { place, entry: undefined, stored: undefined });
  };
  // what the batch itself has put before
  const [from, to] = [range.gte.toString('latin1'), range.lt.toString('latin1')];
  for (const [at, { place, entry }] of draft.changes) {
    if (entry !== undefined && at >= from && at < to) remove(place);
    await breath();
  }
  for await (const chunk of read(range)) {
    for (const [place, stored] of chunk) {
      if (draft.changes.has(place.toString('latin1'))) continue;
      const found = unsealed(place, stored);
      if (found === undefined) throw corrupt(`an entry of tree ${tree.name} is changed`);
      draft.know(place, { valueBytes: found.value.byteLength, seal: found.seal });
      remove(place);
      await breath();
    }
  }
  return removed;
}

/** Growth ends at the quotas; what makes less of what is too much already is always allowed. */
function assertQuota(before: View, after: Draft, quotaBytes: number): void {
  for (const tree of after.changedTrees.values()) {
    if (tree === undefined || tree.quota === 0 || tree.bytes <= tree.quota) continue;
    if (tree.bytes > (before.tree(tree.name)?.bytes ?? 0)) {
      throw exceeded(`tree ${tree.name} would hold ${tree.bytes} bytes; its quota is ${tree.quota}`, tree.quota);
    }
  }
  const [old, now] = [totals(before), totals(after)];
  if (now.bytes > quotaBytes && now.bytes > old.bytes) {
    throw exceeded(`the storage would hold ${now.bytes} bytes; its quota is ${quotaBytes}`, quotaBytes);
  }
  if (now.keys > MAX_STORAGE_KEYS && now.keys > old.keys) {
    throw exceeded(`the storage would hold ${now.keys} keys, at most ${MAX_STORAGE_KEYS}`, MAX_STORAGE_KEYS);
  }
}

function exceeded(message: string, quota: number): HostError {
  return new HostError('QUOTA_EXCEEDED', message, { details: { quota } });
}

/** What all trees hold. */
export function totals(view: Pick<View, 'trees'>): { keys: number; bytes: number } {
  let keys = 0;
  let bytes = 0;
  for (const tree of view.trees()) {
    keys += tree.keys;
    bytes += tree.bytes;
  }
  return { keys, bytes };
}
