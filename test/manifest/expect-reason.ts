import { expect } from 'vitest';
import { type ErrorReason, HostError } from '../../src/contract/error.js';

/** Runs an act that must fail with a HostError of this reason, and gives the error. */
export function expectReason(reason: ErrorReason, act: () => unknown, note = ''): HostError {
  try {
    act();
  } catch (error) {
    expect(error, note).toBeInstanceOf(HostError);
    expect((error as HostError).reason, `${note} ${(error as HostError).message}`).toBe(reason);
    return error as HostError;
  }
  return expect.fail(`${note}: no error, expected ${reason}`);
}
