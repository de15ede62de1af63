import { createHmac } from 'node:crypto';

/** Bytes of salt in an rpcauth line. @see Bitcoin Core, share/rpcauth/rpcauth.py */
export const RPCAUTH_SALT_BYTES = 16;

/** Bytes of randomness in a password made here. */
export const PASSWORD_BYTES = 32;

/** A password for programs: URL-safe text of random bytes. */
export function passwordOf(random: Uint8Array): string {
  return Buffer.from(random).toString('base64url');
}

/**
 * Value of Bitcoin Core's `rpcauth`: the node learns the salted HMAC-SHA-256 of the password, never the password.
 * The salt's hex text, not its bytes, is the key.
 *
 * @param salt RPCAUTH_SALT_BYTES random bytes
 */
export function rpcauthOf(user: string, password: string, salt: Uint8Array): string {
  const saltText = Buffer.from(salt).toString('hex');
  const digest = createHmac('sha256', saltText).update(password, 'utf8').digest('hex');
  return `${user}:${saltText}$${digest}`;
}
