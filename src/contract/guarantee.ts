import { nearest } from '../core/nearest.js';

/** The promises of containment, by the names of `modhost.v1.Guarantee`. */
export const GUARANTEE_NAMES = [
  'filesystem',
  'network',
  'processes',
  'user',
  'privileges',
  'syscalls',
  'memory',
  'cpu',
  'pids',
  'open_files',
  'disk',
  'lifetime',
] as const;

/** One promise of containment. */
export type GuaranteeName = (typeof GUARANTEE_NAMES)[number];

/** The words for a minimum of containment, the strictest first; what each asks for stands in `sandbox/minimum.ts`. */
export const SANDBOX_WORDS = ['full', 'confined', 'limited', 'none'] as const;

/** One of `SANDBOX_WORDS`. */
export type SandboxWord = (typeof SANDBOX_WORDS)[number];

/** A guarantee that must be enforced, or `NAME:watched`: it must at least be watched. */
export type GuaranteeDemand = GuaranteeName | `${GuaranteeName}:watched`;

/** The least containment under which a module may run: a word, or the guarantees one by one. */
export type SandboxMinimum = SandboxWord | readonly GuaranteeDemand[];

/** What holds when the operator says nothing. */
export const DEFAULT_SANDBOX_MINIMUM: SandboxWord = 'confined';

/** Why something is no minimum; it completes "KEY …". */
export interface RefusedMinimum {
  readonly refused: string;
}

/**
 * Reads a minimum: one of the words, or a list of guarantee names, each of which may end in `:watched`.
 *
 * @returns the minimum, or what is wrong with the value, with the nearest thing that would be right
 */
export function parseSandboxMinimum(value: unknown): SandboxMinimum | RefusedMinimum {
  const words = SANDBOX_WORDS.map((word) => `'${word}'`).join(', ');
  if (typeof value === 'string') {
    const word = SANDBOX_WORDS.find((known) => known === value);
    if (word !== undefined) return word;
    // bubblewrap is a means; what it was once the word for is asked for by its outcome
    const near = value === 'bubblewrap' ? DEFAULT_SANDBOX_MINIMUM : nearest(value, SANDBOX_WORDS);
    const hint = near === undefined ? '' : `; did you mean '${near}'?`;
    return { refused: `must be ${words}, or a list of guarantees${hint}` };
  }
  if (!Array.isArray(value)) return { refused: `must be ${words}, or a list of guarantees` };
  const demands = new Map<GuaranteeName, GuaranteeDemand>();
  for (const item of value as unknown[]) {
    const demand = parseDemand(item);
    if ('refused' in demand) return demand;
    if (demands.has(demand.name)) return { refused: `names ${demand.name} twice` };
    demands.set(demand.name, demand.watched ? `${demand.name}:watched` : demand.name);
  }
  // an empty list would read like a demand and ask for nothing
  if (demands.size === 0) return { refused: "must name a guarantee; write 'none' to ask for nothing" };
  return [...demands.values()];
}

/** The minimum as people write it: the word, or the list with commas. */
export function sandboxMinimumText(minimum: SandboxMinimum): string {
  return typeof minimum === 'string' ? minimum : minimum.join(', ');
}

/** What a command line gives, with commas instead of a list. */
export function parseSandboxMinimumText(text: string): SandboxMinimum | RefusedMinimum {
  const items = text.split(',').map((item) => item.trim());
  const [only = ''] = items;
  const isList = items.length > 1 || GUARANTEE_NAMES.some((name) => only === name || only.startsWith(`${name}:`));
  return parseSandboxMinimum(isList ? items : only);
}

function parseDemand(item: unknown): { name: GuaranteeName; watched: boolean } | RefusedMinimum {
  const [text = '', state, ...more] = typeof item === 'string' ? item.split(':') : [];
  const name = GUARANTEE_NAMES.find((known) => known === text);
  if (name === undefined) {
    const near = nearest(text, GUARANTEE_NAMES);
    const known = GUARANTEE_NAMES.join(', ');
    return {
      refused: near === undefined ? `must name guarantees: ${known}` : `has an unknown name; did you mean '${near}'?`,
    };
  }
  const isKnownState = state === undefined || state === 'watched' || state === 'enforced';
  if (!isKnownState || more.length > 0) return { refused: `must say ${name}, ${name}:enforced or ${name}:watched` };
  return { name, watched: state === 'watched' };
}
