import { HostError, throwIfAborted } from '../contract/error.js';
import { asBuffer } from '../core/bytes.js';
import type { NodeApi } from '../node/node-api.js';
import { requireFeature } from './check.js';

/** Hashes that one module may own in one list: 3.2 MB on the way to the node, about 7 MB in the host. */
export const MAX_OWNED_HASHES = 100_000;

/** What a denylist is of. */
export type DenylistKind = 'block' | 'transaction';

/** How many entries there are after a change. */
export interface DenylistCounts {
  ownCount: number;
  totalCount: number;
}

/**
 * What the modules want the node not to serve. Each module owns its wishes; the node is told the union, so that no
 * module can undo another's. A change counts once the node has taken it; if the node refuses, nothing has changed.
 */
export interface ServeDenylists {
  /** Adds to a module's entries. @throws QUOTA_EXCEEDED, NODE_LACKS_FEATURE, or what the node says */
  merge(owner: string, kind: DenylistKind, hashes: readonly Uint8Array[], signal: AbortSignal): Promise<DenylistCounts>;
  /** Makes these a module's only entries. @throws as merge */
  replace(
    owner: string,
    kind: DenylistKind,
    hashes: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<DenylistCounts>;
  /** Entries sorted by their bytes: a module's own, or the union when `owner` is undefined. @throws NODE_LACKS_FEATURE */
  list(kind: DenylistKind, owner: string | undefined): Uint8Array[];
  /** Sets a module's wish for maintenance mode; gives whether any module wants it. @throws NODE_LACKS_FEATURE */
  setMaintenance(owner: string, enabled: boolean, signal: AbortSignal): Promise<boolean>;
  /** Forgets all wishes of a module whose session has ended. If the node cannot be told, `resend` makes up for it. */
  release(owner: string, signal: AbortSignal): Promise<void>;
  /** Tells the node everything again, after it was restarted; nothing when no module ever wished anything. */
  resend(signal: AbortSignal): Promise<void>;
}

// One-byte strings as keys: compact in memory, compared by value, and sorted in the order of the bytes.
type Keys = ReadonlySet<string>;

const KINDS: readonly DenylistKind[] = ['block', 'transaction'];

/** @param node the unbudgeted port: these calls are the host's own, made for all modules together */
export function createServeDenylists(node: NodeApi): ServeDenylists {
  const owned: Record<DenylistKind, Map<string, Keys>> = { block: new Map(), transaction: new Map() };
  const told: Record<DenylistKind, boolean> = { block: false, transaction: false };
  const maintenance = new Set<string>();
  let maintenanceTold = false;
  let last: Promise<unknown> = Promise.resolve();

  /** One change after the other: two unions on the way at once could arrive in the wrong order. */
  const inTurn = <T>(signal: AbortSignal, change: () => Promise<T>): Promise<T> => {
    const turn = last.then(() => {
      throwIfAborted(signal);
      return change();
    });
    last = turn.catch(() => {});
    return turn;
  };
  const setter = () => {
    const network = node.network;
    return requireFeature(network?.setServeDenylist?.bind(network), 'serve-denylist');
  };
  const maintenanceSetter = () => {
    const network = node.network;
    return requireFeature(network?.setBlockServeMaintenance?.bind(network), 'maintenance-mode');
  };
  const unionWith = (kind: DenylistKind, owner: string, own: Keys): Keys => {
    const union = new Set(own);
    for (const [other, keys] of owned[kind]) if (other !== owner) for (const key of keys) union.add(key);
    return union;
  };
  const setOwn = async (kind: DenylistKind, owner: string, own: Keys, signal: AbortSignal): Promise<DenylistCounts> => {
    const set = setter();
    const union = unionWith(kind, owner, own);
    await set(kind, toHashes(union), signal);
    told[kind] = true;
    if (own.size === 0) owned[kind].delete(owner);
    else owned[kind].set(owner, own);
    return { ownCount: own.size, totalCount: union.size };
  };

  return {
    merge: (owner, kind, hashes, signal) =>
      inTurn(signal, () => {
        const own = new Set(owned[kind].get(owner));
        for (const hash of hashes) own.add(toKey(hash));
        if (own.size > MAX_OWNED_HASHES) {
          throw new HostError('QUOTA_EXCEEDED', `a module may own at most ${MAX_OWNED_HASHES} hashes in a denylist`);
        }
        return setOwn(kind, owner, own, signal);
      }),
    replace: (owner, kind, hashes, signal) =>
      inTurn(signal, () => setOwn(kind, owner, new Set(hashes.map(toKey)), signal)),
    list(kind, owner) {
      setter();
      return toHashes(owner === undefined ? unionWith(kind, '', new Set()) : (owned[kind].get(owner) ?? new Set()));
    },
    setMaintenance: (owner, enabled, signal) =>
      inTurn(signal, async () => {
        const set = maintenanceSetter();
        const wishes = new Set(maintenance);
        if (enabled) wishes.add(owner);
        else wishes.delete(owner);
        const on = wishes.size > 0;
        if (on !== maintenanceTold) await set(on, signal);
        maintenanceTold = on;
        if (enabled) maintenance.add(owner);
        else maintenance.delete(owner);
        return on;
      }),
    release: (owner, signal) =>
      inTurn(signal, async () => {
        // Forgotten first: whatever the node says, the union told next no longer has them.
        const kinds = KINDS.filter((kind) => owned[kind].delete(owner));
        const wished = maintenance.delete(owner);
        for (const kind of kinds) await setter()(kind, toHashes(unionWith(kind, '', new Set())), signal);
        if (wished && maintenance.size === 0 && maintenanceTold) {
          await maintenanceSetter()(false, signal);
          maintenanceTold = false;
        }
      }),
    resend: (signal) =>
      inTurn(signal, async () => {
        for (const kind of KINDS) {
          if (told[kind]) await setter()(kind, toHashes(unionWith(kind, '', new Set())), signal);
        }
        if (maintenanceTold || maintenance.size > 0) {
          await maintenanceSetter()(maintenance.size > 0, signal);
          maintenanceTold = maintenance.size > 0;
        }
      }),
  };
}

function toKey(hash: Uint8Array): string {
  return asBuffer(hash).toString('latin1');
}

function toHashes(keys: Keys): Uint8Array[] {
  return [...keys].sort().map((key) => new Uint8Array(Buffer.from(key, 'latin1')));
}
