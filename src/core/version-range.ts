import semver from 'semver';

/** Longest version or range that is looked at, characters: a regular expression over hostile text needs a bound. */
export const MAX_VERSION_CHARS = 256;

/** A range of versions; one matcher for dependencies, compatibility and the registry. */
export interface VersionRange {
  /** The range as it was written. */
  readonly text: string;
  /** True when the version lies in the range; a pre-release only where the range names one of the same release. */
  includes(version: string): boolean;
}

/**
 * True when the text is one version by SemVer 2.0 and nothing else: no `v`, no blanks, no leading zeros.
 *
 * @see semver.org 2.0.0, sections 2, 9 and 10
 */
export function isVersion(text: string): boolean {
  if (text.length > MAX_VERSION_CHARS) return false;
  const version = semver.parse(text);
  if (version === null) return false;
  // The library forgives a leading `v`, `=` and blanks; the specification does not.
  const build = version.build.length === 0 ? '' : `+${version.build.join('.')}`;
  return text === version.version + build;
}

/** -1, 0 or 1 by SemVer precedence; build metadata counts for nothing. Both must pass `isVersion`. */
export function compareVersions(a: string, b: string): -1 | 0 | 1 {
  return semver.compare(a, b);
}

/**
 * The range that a text describes, or undefined when it is no range, says nothing (`*`, empty, a bare operator), cannot
 * be satisfied by any version in one of its alternatives, or is longer than MAX_VERSION_CHARS.
 */
export function parseVersionRange(text: string): VersionRange | undefined {
  if (text.length > MAX_VERSION_CHARS || /[^\x20-\x7e]/.test(text)) return undefined;
  for (const alternative of text.split('||')) {
    // Without a digit it is a wildcard or an operator alone: it names no version that was ever tried.
    if (!/[0-9]/.test(alternative) || !isSatisfiable(alternative)) return undefined;
  }
  const range = new semver.Range(text);
  return { text, includes: (version) => range.test(version) };
}

function isSatisfiable(alternative: string): boolean {
  try {
    return semver.minVersion(alternative) !== null;
  } catch {
    return false;
  }
}
