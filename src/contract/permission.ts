import { Permission as PermissionNumber } from '../../gen/ts/modhost/v1/permission.js';

/** What a module may do: names of `modhost.v1.Permission` without prefix, for example `READ_BLOCKCHAIN`. */
export type Permission = Exclude<keyof typeof PermissionNumber, 'UNSPECIFIED' | 'UNRECOGNIZED' | 'NONE'>;

/** Every permission, in the order of the contract. */
export const PERMISSIONS: readonly Permission[] = Object.keys(PermissionNumber).filter(
  (name): name is Permission => name !== 'UNSPECIFIED' && name !== 'UNRECOGNIZED' && name !== 'NONE',
);

/** Number of a permission on the wire. */
export function permissionNumber(permission: Permission): PermissionNumber {
  return PermissionNumber[permission];
}

/** Permission or `NONE` of a number on the wire; undefined when it is neither. */
export function permissionFromNumber(value: number): Permission | 'NONE' | undefined {
  if (value === PermissionNumber.NONE) return 'NONE';
  return PERMISSIONS.find((permission) => PermissionNumber[permission] === value);
}

/** The capability that asks for a permission in a manifest, for example `read_blockchain`. */
export function capabilityName(permission: Permission): string {
  return permission.toLowerCase();
}

/**
 * The permission that a capability of a manifest asks for: snake_case, or the ancestor's CamelCase spelling
 * (`ReadBlockchain`, `ReadUTXO`). Undefined when there is none; no other spelling is guessed.
 */
export function permissionFromCapability(capability: string): Permission | undefined {
  return PERMISSIONS.find(
    (permission) => capabilityName(permission) === capability || camelCase(permission) === capability,
  );
}

function camelCase(permission: Permission): string {
  if (permission === 'READ_UTXO') return 'ReadUTXO';
  return permission
    .split('_')
    .map((word) => word.charAt(0) + word.slice(1).toLowerCase())
    .join('');
}
