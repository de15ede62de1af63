import type { MethodFacts } from '../contract/methods.js';
import { permissionNumber } from '../contract/permission.js';
import { secretConfigKeys } from '../manifest/config.js';
import type { SessionFacts } from '../services/session.js';
import type { Session } from '../session/session.js';
import { servedServices, wireGuarantee } from './facts.js';
import type { NodeWatch } from './node-status.js';
import type { ServedModule } from './parts.js';
import { SERVICE_ENTRIES } from './session-services.js';

/** What every session of a host is told alike. */
export interface SharedFacts {
  readonly version: string;
  readonly methods: ReadonlyMap<string, MethodFacts>;
  readonly nodeWatch: NodeWatch;
}

/** What one session is told of itself, of the host and of the node. */
export function createSessionFacts(shared: SharedFacts, module: ServedModule, session: Session): SessionFacts {
  const { running } = module;
  return {
    context() {
      const info = shared.nodeWatch.info();
      return {
        moduleId: session.identity.moduleId,
        instanceId: session.identity.instanceId,
        protocolVersion: session.protocolVersion(),
        hostVersion: shared.version,
        nodeKind: info?.kind ?? '',
        nodeVersion: info?.version ?? '',
        network: info?.network ?? 'unknown',
        granted: session.grants.list().map(permissionNumber),
        withheld: running.withheld.map(permissionNumber),
        limits: running.limits,
        containment: running.containment.map(wireGuarantee),
        services: servedServices(SERVICE_ENTRIES, shared.methods),
        external: module.external,
      };
    },
    configJson(withSecrets) {
      const secrets = secretConfigKeys(module.slot.manifest);
      const shown = Object.entries(running.config).filter(([key]) => withSecrets || !secrets.has(key));
      return JSON.stringify(Object.fromEntries(shown));
    },
    readyWithinMs: () => running.limits.startTimeoutMs,
  };
}
