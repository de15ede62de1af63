import { HostError } from '../contract/error.js';
import type { ServiceDefinition } from '../contract/service.js';

/** Handlers that refuse every method of a service that a later version of the host will answer. */
export function createNotYetServed(definition: ServiceDefinition): Record<string, (request: unknown) => unknown> {
  const handlers: Record<string, (request: unknown) => unknown> = {};
  for (const [name, method] of Object.entries(definition)) {
    const refuse = (): never => {
      throw new HostError('NOT_YET_SERVED', `${method.path} is not served by this version of the host`);
    };
    handlers[name] = method.responseStream
      ? // biome-ignore lint/correctness/useYield: it refuses before it could yield
        async function* () {
          refuse();
        }
      : async () => refuse();
  }
  return handlers;
}
