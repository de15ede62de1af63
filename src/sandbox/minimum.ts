import { HostError } from '../contract/error.js';
import {
  GUARANTEE_NAMES,
  type GuaranteeName,
  SANDBOX_WORDS,
  type SandboxMinimum,
  type SandboxWord,
  sandboxMinimumText,
} from '../contract/guarantee.js';
import type { Guarantee } from './guarantee.js';

/** How much of a guarantee is asked for. */
type Demand = 'enforced' | 'watched';

/**
 * What each word asks for. `full`: all of it by the kernel, a user of the module's own included, so the host must be root;
 * the size of the data directory may be watched, as no file system enforces it per directory everywhere. `confined`: no
 * control group is asked for, so that an ordinary user's host meets it. `limited`: what can be had without namespaces, as
 * in a container of the usual kind; other processes may be seen, sockets that are open to everybody be reached, and what a
 * module has left running may outlive the host.
 */
const WORDS: Readonly<Record<SandboxWord, ReadonlyMap<GuaranteeName, Demand>>> = {
  full: demands(
    GUARANTEE_NAMES.filter((name) => name !== 'disk'),
    ['disk'],
  ),
  confined: demands(
    ['filesystem', 'network', 'processes', 'privileges', 'syscalls', 'open_files', 'lifetime'],
    ['memory', 'cpu', 'pids', 'disk'],
  ),
  limited: demands(['filesystem', 'privileges', 'syscalls', 'open_files'], ['memory', 'cpu', 'disk']),
  none: demands([], []),
};

/** A guarantee that is asked for and not given. */
export interface MissingGuarantee {
  readonly name: GuaranteeName;
  readonly wanted: Demand;
  /** What there is of it. */
  readonly found: Guarantee;
}

/** What of a minimum a vector of containment lacks, in the order of the vector; empty = it is met. What others answer for is not judged. */
export function missingGuarantees(minimum: SandboxMinimum, containment: readonly Guarantee[]): MissingGuarantee[] {
  const wantedOf = demandsOf(minimum);
  return containment.flatMap((found) => {
    const wanted = wantedOf.get(found.name);
    if (wanted === undefined || found.state === 'enforced' || found.state === 'by-others') return [];
    return wanted === 'watched' && found.state === 'watched' ? [] : [{ name: found.name, wanted, found }];
  });
}

/** The words whose demands a vector meets, the strictest first; `none` is always among them. */
export function wordsMet(containment: readonly Guarantee[]): SandboxWord[] {
  return SANDBOX_WORDS.filter((word) => missingGuarantees(word, containment).length === 0);
}

/**
 * Refuses to run a module under less than the operator's minimum.
 *
 * @param cures what would help on this machine, by guarantee
 * @throws HostError SANDBOX_UNAVAILABLE with the names in `details.missing`
 */
export function assertMinimum(
  name: string,
  minimum: SandboxMinimum,
  containment: readonly Guarantee[],
  cures: ReadonlyMap<GuaranteeName, string>,
): void {
  const missing = missingGuarantees(minimum, containment);
  if (missing.length === 0) return;
  throw new HostError(
    'SANDBOX_UNAVAILABLE',
    `${name} is not started, sandbox.minimum = ${sandboxMinimumText(minimum)}: ${missingText(missing, cures)}; \`modhost doctor\` tells more`,
    { details: { module: name, missing: missing.map(({ name }) => name).join(', ') } },
  );
}

/** The names first, then why for each, then what would help: `a, b missing: a: why; b: why; cure: ...`. */
export function missingText(missing: readonly MissingGuarantee[], cures: ReadonlyMap<GuaranteeName, string>): string {
  const byCause = new Map<string, GuaranteeName[]>();
  for (const { name, found } of missing) {
    const cause = `${found.state === 'watched' ? 'only watched: ' : ''}${found.by}`;
    byCause.set(cause, [...(byCause.get(cause) ?? []), name]);
  }
  const causes = [...byCause].map(([cause, names]) => `${names.join(' and ')}: ${cause}`);
  const helping = new Set(missing.flatMap(({ name }) => cures.get(name) ?? []));
  return [
    `${missing.map(({ name }) => name).join(', ')} missing; ${causes.join('; ')}`,
    ...[...helping].map((cure) => `; cure: ${cure}`),
  ].join('');
}

function demandsOf(minimum: SandboxMinimum): ReadonlyMap<GuaranteeName, Demand> {
  if (typeof minimum === 'string') return WORDS[minimum];
  const wanted = new Map<GuaranteeName, Demand>();
  for (const name of GUARANTEE_NAMES) {
    if (minimum.includes(name)) wanted.set(name, 'enforced');
    else if (minimum.includes(`${name}:watched`)) wanted.set(name, 'watched');
  }
  return wanted;
}

function demands(enforced: readonly GuaranteeName[], watched: readonly GuaranteeName[]) {
  return new Map<GuaranteeName, Demand>([
    ...enforced.map((name) => [name, 'enforced'] as const),
    ...watched.map((name) => [name, 'watched'] as const),
  ]);
}
