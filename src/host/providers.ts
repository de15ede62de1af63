import { GovernanceServiceService } from '../../gen/ts/modhost/v1/governance.js';
import { LightningServiceService } from '../../gen/ts/modhost/v1/lightning.js';
import { PaymentServiceService } from '../../gen/ts/modhost/v1/payment.js';
import type { Served } from '../ipc/server.js';
import type { ProviderParts } from '../services/provided.js';
import { createAskProvider } from '../services/provided.js';
import {
  createProvidedGovernance,
  createProvidedLightning,
  createProvidedPayment,
} from '../services/provided-services.js';
import type { Session } from '../session/session.js';

/** Services that a module may answer in place of the node, by the operator's word for each. */
export const PROVIDED_SERVICES = ['lightning', 'payment', 'governance'] as const;

/** One of them. */
export type ProvidedService = (typeof PROVIDED_SERVICES)[number];

/** Which module answers each, as the operator names it. */
export type Providers = Readonly<Partial<Record<ProvidedService, string>>>;

/** What asking a provider needs of the host. */
export interface ProvidersParts extends Pick<ProviderParts, 'calls' | 'wire'> {
  readonly providers: Providers;
  /** Counts against a module that its answer broke the contract. */
  blame(provider: string, what: string): void;
}

/**
 * The services that other modules answer for this session. A provider itself gets its own service from the node, where
 * the node has one: it can build on that, and no call of it comes back to it.
 */
export function providedServices(session: Session, parts: ProvidersParts): Served[] {
  return PROVIDED_SERVICES.flatMap((service) => {
    const provider = parts.providers[service];
    if (provider === undefined || provider === session.identity.moduleId) return [];
    const { calls, wire } = parts;
    const blame = (what: string): void => parts.blame(provider, what);
    return [serve(service, createAskProvider(session, { provider, calls, wire, blame }))];
  });
}

function serve(service: ProvidedService, ask: ReturnType<typeof createAskProvider>): Served {
  switch (service) {
    case 'lightning':
      return { definition: LightningServiceService, impl: createProvidedLightning(ask) };
    case 'payment':
      return { definition: PaymentServiceService, impl: createProvidedPayment(ask) };
    case 'governance':
      return { definition: GovernanceServiceService, impl: createProvidedGovernance(ask) };
  }
}

/** The services that a module answers for all others. */
export function servicesOf(providers: Providers, module: string): ProvidedService[] {
  return PROVIDED_SERVICES.filter((service) => providers[service] === module);
}
