import { GUARANTEE_NAMES, type GuaranteeName } from '../contract/guarantee.js';

/** How far a promise holds: the kernel enforces it, the host looks on, it does not hold, or somebody else answers. */
export type GuaranteeState = 'enforced' | 'watched' | 'none' | 'by-others';

/** One promise and what became of it on this machine. */
export interface Guarantee {
  readonly name: GuaranteeName;
  readonly state: GuaranteeState;
  /** By what means; for `none` the cause, for people. */
  readonly by: string;
  /** True when the host tried it on this machine and saw it hold. */
  readonly verified: boolean;
}

/** The whole vector from what is known of single promises; what nobody speaks for is `none`, so that silence never reassures. */
export function guarantees(known: ReadonlyMap<GuaranteeName, Omit<Guarantee, 'name'>>, silence: string): Guarantee[] {
  return GUARANTEE_NAMES.map((name) => ({
    name,
    ...(known.get(name) ?? { state: 'none', by: silence, verified: false }),
  }));
}

/** The vector of a module that somebody else starts (`run = "external"`): the host cannot know and does not guess. */
export function externalContainment(): Guarantee[] {
  return GUARANTEE_NAMES.map((name) => ({
    name,
    state: 'by-others',
    by: 'whoever starts the process (run = "external")',
    verified: false,
  }));
}
