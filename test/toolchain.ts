import { describe, it } from 'vitest';

/**
 * A suite that needs something this machine may lack. On a user's machine the tests are skipped and say why; under
 * CI=true the lack is a failure, so that a gap never hides behind a green run.
 *
 * @param what      what the suite needs and how to get it, for the person who reads the skip
 * @param available whether it is there
 */
export function toolOrSkip(what: string, available: boolean): (name: string, body: () => void) => void {
  if (available) return (name, body) => describe(name, body);
  if (process.env.CI === 'true') {
    return (name) =>
      describe(name, () => {
        it('has what it needs', () => {
          throw new Error(`missing: ${what}`);
        });
      });
  }
  return (name, body) => describe.skip(`${name} (missing: ${what})`, body);
}
