import { isVersion, MAX_VERSION_CHARS, parseVersionRange } from '../core/version-range.js';
import { field, type Refusal, refuse, text } from './field.js';

/** Longest name of a module, characters: it becomes a directory, a host name and a metrics label. */
export const MAX_NAME_CHARS = 64;

/** Longest free text of a manifest, characters: it is shown to people, in one line of a table or a page. */
const MAX_PROSE_CHARS = 4096;

/** Longest path and command word, characters: PATH_MAX less the directory it is joined to. */
const MAX_PATH_CHARS = 1024;

/** Longest URL, bytes: what every HTTP server accepts. */
const MAX_URL_BYTES = 2048;

/** Most maintainers, signers and parts of a threshold: a curve operation is paid for each. */
export const MAX_MAINTAINERS = 100;

const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

/** The host speaks under these names; a module that bore one could be taken for it. */
const RESERVED_NAMES: ReadonlySet<string> = new Set(['node', 'host', 'core', 'system', 'modhost', 'blvm-node']);

/** Dependencies that name the host itself: its compatibility version and its package version. */
export const HOST_DEPENDENCIES: ReadonlySet<string> = new Set(['blvm-node', 'modhost']);

/** Why a text is no module name, or undefined when it is one. */
export function nameRefusal(name: string): Refusal | undefined {
  if (name.length > MAX_NAME_CHARS || !NAME.test(name)) {
    return refuse(
      'BAD_NAME',
      `must be a name of a-z, 0-9 and single '-' between, at most ${MAX_NAME_CHARS} characters`,
    );
  }
  return RESERVED_NAMES.has(name) ? refuse('RESERVED_NAME', `'${name}' is reserved for the host`) : undefined;
}

/** Why a text cannot stand left of a dependency's range, or undefined when it can. */
export function dependencyNameRefusal(name: string): Refusal | undefined {
  return HOST_DEPENDENCIES.has(name) ? undefined : nameRefusal(name);
}

/** A module's name. */
export const moduleName = () =>
  field((value) =>
    typeof value === 'string' ? (nameRefusal(value) ?? value) : refuse('BAD_NAME', 'must be a string'),
  );

/** Text for people. */
export const prose = () => text('BAD_VALUE', MAX_PROSE_CHARS, `text of 1 to ${MAX_PROSE_CHARS} characters`);

/** One version by strict SemVer 2.0. */
export const version = () =>
  text('BAD_VERSION', MAX_VERSION_CHARS, "a version by SemVer 2.0, like '1.2.3', without 'v'", isVersion);

/** A range of versions. */
export const versionRange = () =>
  field(
    (value) =>
      (typeof value === 'string' ? parseVersionRange(value) : undefined) ??
      refuse('BAD_RANGE', "must be a version range that some version satisfies, like '>=1.2.0 <2.0.0'"),
  );

/** `sha256:` and 64 lower-case hex digits; upper case is refused, so that one hash has one spelling. */
export const hash = () =>
  text('BAD_HASH', 71, "'sha256:' and 64 lower-case hex digits", (value) => /^sha256:[0-9a-f]{64}$/.test(value));

/**
 * Where to download: https, or http to loopback; the raw text is judged before it is parsed, because the URL parser
 * drops tabs and line ends and turns backslashes.
 */
export const downloadUrl = () =>
  text('BAD_URL', MAX_URL_BYTES, 'an https URL (http only to loopback) without user or password', (value) => {
    if (!/^https?:\/\/[\x21-\x7e]+$/.test(value) || value.includes('\\') || !URL.canParse(value)) return false;
    const url = new URL(value);
    if (url.username !== '' || url.password !== '' || /^https?:\/\/[^/?#]*@/.test(value)) return false;
    return url.protocol === 'https:' || ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  });

/** How many of how many. */
export interface Threshold {
  readonly required: number;
  readonly total: number;
}

/** `M-of-N` with 1 <= M <= N <= 100. */
export const threshold = () =>
  field((value): Threshold | Refusal => {
    const match = typeof value === 'string' ? /^([1-9][0-9]{0,2})-of-([1-9][0-9]{0,2})$/.exec(value) : null;
    const [required, total] = [Number(match?.[1]), Number(match?.[2])];
    return match !== null && required <= total && total <= MAX_MAINTAINERS
      ? { required, total }
      : refuse('BAD_THRESHOLD', `must be 'M-of-N' with 1 <= M <= N <= ${MAX_MAINTAINERS}`);
  }, 'BAD_THRESHOLD');

/** A path below the module's own directory, as written; whether the file is there is asked at the start. */
export const relativePath = () =>
  text('BAD_ENTRY_POINT', MAX_PATH_CHARS, "a path inside the module's directory, without '..'", isInnerPath);

function isInnerPath(path: string): boolean {
  if (path.includes('\0') || path.includes('\\')) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

/** One word of a command line: any text without NUL, which ends a C string. */
export const commandWord = () =>
  text('BAD_VALUE', MAX_PATH_CHARS, 'a word without NUL', (value) => !value.includes('\0'));

/** What the host sets for every module; a manifest that could override it could aim the module at another socket. */
const HOST_VARIABLES: ReadonlySet<string> = new Set(['SOCKET_PATH', 'MODULE_ID', 'MODULE_NAME', 'DATA_DIR']);

/** Why a text cannot be an environment variable of a module's choice, or undefined when it can. */
export function variableRefusal(name: string): Refusal | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) {
    return refuse('BAD_VALUE', 'must be the name of an environment variable');
  }
  return name.startsWith('MODHOST_') || HOST_VARIABLES.has(name)
    ? refuse('RESERVED_NAME', 'is set by the host')
    : undefined;
}

/** `host:port`, the host being a DNS name, an IPv4 address or an IPv6 address in brackets. */
export const hostAndPort = () =>
  text('BAD_VALUE', 300, "'host:port'", (value) => {
    const match = /^([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):([1-9][0-9]{0,4})$/i.exec(value);
    return match !== null && Number(match[2]) <= 65535 && URL.canParse(`tcp://${value}`);
  });
