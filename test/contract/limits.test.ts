import { expect, it } from 'vitest';
import type { Limits } from '../../gen/ts/modhost/v1/session.js';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { sessionLimits } from '../../src/host/facts.js';
import { DEFAULT_LIMITS } from '../../src/sandbox/limits.js';
import { DEFAULT_EVENT_LIMITS } from '../../src/services/event.js';
import { DEFAULT_CALL_BURST, DEFAULT_CALL_RATE, DEFAULT_CALLS_IN_FLIGHT } from '../../src/session/quota.js';

it('the defaults that the contract prints in brackets are the host’s', () => {
  const calls = { ratePerSecond: DEFAULT_CALL_RATE, burst: DEFAULT_CALL_BURST, maxInFlight: DEFAULT_CALLS_IN_FLIGHT };
  const actual = sessionLimits(DEFAULT_LIMITS, calls, DEFAULT_EVENT_LIMITS);
  expect(printedDefaults()).toEqual(actual);
});

/** The number in brackets of each field of Limits: messages are field 4 of a file, fields field 2 of a message. */
function printedDefaults(): Record<string, number> {
  const type = createContractRegistry().getMessage('modhost.v1.Limits');
  const { proto } = type?.file ?? {};
  const message = type === undefined ? -1 : proto?.messageType.indexOf(type.proto);
  const printed: Partial<Record<keyof Limits, number>> = {};
  for (const [index, field] of (type?.fields ?? []).entries()) {
    const path = [4, message, 2, index].join();
    const comment = proto?.sourceCodeInfo?.location.find((place) => place.path.join() === path)?.leadingComments;
    printed[field.localName as keyof Limits] = Number(/\[([\d,]+)\]/.exec(comment ?? '')?.[1]?.replaceAll(',', ''));
  }
  return printed;
}
