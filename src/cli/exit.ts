import type { ErrorReason, HostError } from '../contract/error.js';

/** Exit codes of the command line; listed in the README. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  noHost: 3,
  refused: 4,
} as const;

/** The operator wrote something that cannot be meant. */
const USAGE: ReadonlySet<ErrorReason> = new Set(['BAD_CONFIG', 'INVALID_REQUEST', 'OUT_OF_RANGE', 'UNKNOWN_ENUM']);

/** A policy said no: what was asked is possible, and not allowed. */
const REFUSED: ReadonlySet<ErrorReason> = new Set([
  ...(['UNSIGNED', 'THRESHOLD_NOT_MET', 'SIGNER_UNTRUSTED', 'SIGNER_KEY_MISMATCH', 'BAD_SIGNATURE'] as const),
  ...(['KEY_REVOKED', 'KEY_EXPIRED', 'HASH_MISMATCH', 'SIZE_MISMATCH', 'MODIFIED', 'DOWNGRADE'] as const),
  ...(['APPROVAL_REQUIRED', 'REVIEW_PERIOD', 'LOCK_MISMATCH', 'LOCK_VIOLATION', 'TRUST_STORE_UNSAFE'] as const),
  ...(['MISSING_PERMISSION', 'PERMISSION_WITHDRAWN', 'CALLER_NOT_ALLOWED', 'SANDBOX_UNAVAILABLE'] as const),
  ...(['UNSAFE_RUN_DIR', 'UNSAFE_DATA_DIR'] as const),
]);

/** The exit code that an error amounts to. */
export function exitCodeOf({ reason }: HostError): number {
  if (USAGE.has(reason)) return EXIT.usage;
  if (REFUSED.has(reason)) return EXIT.refused;
  return reason === 'SESSION_CLOSED' ? EXIT.noHost : EXIT.failed;
}
