import type { NodeEvent } from '../node-api.js';

/** States of a soft fork that are told. */
export type ForkState = 'locked-in' | 'active';

/** A deployment as the node lists it; `state` undefined = neither locked in nor active. */
export interface Deployment {
  name: string;
  state: ForkState | undefined;
}

/** Tells deployments that reach a new state; the first look tells nothing. */
export function createForkWatch(
  emit: (event: NodeEvent) => void,
): (now: readonly Deployment[], height: number) => void {
  let before: Map<string, ForkState | undefined> | undefined;
  return (now, height) => {
    const last = before;
    before = new Map(now.map(({ name, state }) => [name, state]));
    if (last === undefined) return;
    for (const { name, state } of now) {
      if (state !== undefined && last.get(name) !== state) emit({ type: 'SoftFork', name, state, height });
    }
  };
}

/** The state in the words of Bitcoin Core (`locked_in`) or btcd (`lockedin`). */
export function forkStateOf(status: string | undefined, active: boolean): ForkState | undefined {
  if (active || status === 'active') return 'active';
  return status === 'locked_in' || status === 'lockedin' ? 'locked-in' : undefined;
}
