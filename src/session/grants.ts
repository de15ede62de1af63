import { PERMISSIONS, type Permission } from '../contract/permission.js';

/** What one session may do; the operator can take a permission back while calls run. */
export interface Grants {
  /** Asks because the module needs it; to show what is granted, use `list`. */
  has(permission: Permission): boolean;
  /** Granted permissions, in the order of the contract. */
  list(): readonly Permission[];
  /** Takes a permission back: later calls are refused, running streams that need it end. */
  withdraw(permission: Permission): void;
  /** Takes everything back, as at the end of a session. */
  withdrawAll(): void;
  /** Calls `listener` once when the permission is withdrawn; the answer stops watching. */
  onWithdraw(permission: Permission, listener: () => void): () => void;
}

/**
 * Makes the grants of one session.
 *
 * @param onAsked hears of each question whether a permission is there, and its answer
 */
export function createGrants(
  granted: Iterable<Permission>,
  onAsked: (permission: Permission, held: boolean) => void = () => {},
): Grants {
  const held = new Set(granted);
  const listeners = new Map<Permission, Set<() => void>>();
  const withdraw = (permission: Permission): void => {
    if (!held.delete(permission)) return;
    const waiting = listeners.get(permission);
    listeners.delete(permission);
    for (const listener of waiting ?? []) listener();
  };
  return {
    has(permission) {
      const isHeld = held.has(permission);
      onAsked(permission, isHeld);
      return isHeld;
    },
    list: () => PERMISSIONS.filter((permission) => held.has(permission)),
    withdraw,
    withdrawAll() {
      for (const permission of [...held]) withdraw(permission);
    },
    onWithdraw(permission, listener) {
      const waiting = listeners.get(permission) ?? new Set();
      waiting.add(listener);
      listeners.set(permission, waiting);
      return () => waiting.delete(listener);
    },
  };
}
