import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { HostError } from '../../contract/error.js';
import { MAX_AUTHORIZATION_CHARS } from './limits.js';

/** User of the cookie. @see Bitcoin Core, src/rpc/request.cpp */
export const COOKIE_USER = '__cookie__';
/** Bytes of randomness in a cookie's password. */
export const COOKIE_BYTES = 32;

/** `user:salt$hmac` as share/rpcauth/rpcauth.py prints it. */
const RPCAUTH = /^([^:$\s]{1,128}):([0-9a-f]{1,128})\$([0-9a-f]{64})$/;

/** Knows who may come in. */
export interface Doorkeeper {
  /** The user of a good Authorization header; undefined for any other. */
  userOf(header: string | undefined): string | undefined;
}

/**
 * Makes a doorkeeper of the cookie's password and of `rpcauth` lines. Every comparison takes the same time whatever was
 * sent.
 *
 * @throws HostError BAD_CONFIG for a line that is none
 */
export function createDoorkeeper(cookiePassword: string, rpcauth: readonly string[]): Doorkeeper {
  const users = rpcauth.map((line) => {
    const [, user, salt, hmac] = RPCAUTH.exec(line) ?? [];
    if (user === undefined || salt === undefined || hmac === undefined || user === COOKIE_USER) {
      throw new HostError('BAD_CONFIG', "rpc.rpcauth needs lines of the form 'user:salt$hmac', as bitcoind has them", {
        details: { key: 'rpc.rpcauth' },
      });
    }
    return { user, salt, hmac };
  });
  return {
    userOf(header) {
      const pair = pairOf(header);
      if (pair === undefined) return undefined;
      const { user, password } = pair;
      let found = same(`${user}:${password}`, `${COOKIE_USER}:${cookiePassword}`) ? user : undefined;
      for (const one of users) {
        const hmac = createHmac('sha256', one.salt).update(password, 'utf8').digest('hex');
        if (same(`${user}:${hmac}`, `${one.user}:${one.hmac}`)) found = one.user;
      }
      return found;
    },
  };
}

function pairOf(header: string | undefined): { user: string; password: string } | undefined {
  if (header === undefined || header.length > MAX_AUTHORIZATION_CHARS) return undefined;
  const encoded = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Digests have one length, so nothing of a secret shows in the time. */
function same(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text, 'utf8').digest();
  return timingSafeEqual(digest(one), digest(other));
}

/**
 * Writes a cookie file that only its owner can read; it stands there whole or not at all.
 *
 * @throws HostError BAD_CONFIG when the file cannot be written there
 */
export function writeCookie(path: string, password: string): void {
  const made = `${path}.new`;
  try {
    // whatever a host that was killed has left: a link there must not be followed
    rmSync(made, { force: true });
    const file = openSync(made, 'wx', 0o600);
    try {
      writeSync(file, `${COOKIE_USER}:${password}`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    chmodSync(made, 0o600);
    renameSync(made, path);
  } catch (cause) {
    throw new HostError('BAD_CONFIG', `the cookie file ${path} cannot be written: ${(cause as Error).message}`, {
      details: { key: 'rpc.cookie_file' },
      cause,
    });
  }
}

/** Removes the cookie file when it is still this one: another host may have written its own since. */
export function removeCookie(path: string, password: string): void {
  try {
    if (readFileSync(path, 'utf8') === `${COOKIE_USER}:${password}`) rmSync(path);
  } catch {
    // gone already
  }
}
