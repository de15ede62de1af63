import type { ConfigField } from './config-schema.js';
import { limitsOf } from './limits-table.js';
import type { Artifact, Manifest, Signer } from './manifest.js';
import type { ManifestDocument } from './schema.js';

/** The manifest of a checked document: names of the house, defaults of the design filled in. */
export function buildManifest(document: ManifestDocument, raw: Readonly<Record<string, unknown>>): Manifest {
  const { compatibility, events, network, api, health, restart, update, storage, governance } = document;
  return {
    name: document.name,
    version: document.version,
    description: document.description ?? '',
    author: document.author ?? '',
    license: document.license ?? '',
    homepage: document.homepage ?? '',
    entryPoint: document.entry_point ?? document.name,
    // Asking twice is asking once; the alias and its canonical word are one permission.
    capabilities: [...new Set(document.capabilities ?? compatibility?.capabilities ?? [])],
    rpcOverrides: document.rpc_overrides ?? [],
    run: { command: document.run?.command, env: document.run?.env ?? new Map() },
    dependencies: document.dependencies ?? new Map(),
    optionalDependencies: document.optional_dependencies ?? new Map(),
    compatibility: {
      minConsensusVersion: compatibility?.min_consensus_version,
      minProtocolVersion: compatibility?.min_protocol_version,
      minNodeVersion: compatibility?.min_node_version,
      testedWith: compatibility?.tested_with ?? [],
    },
    governance: governance && {
      tier: governance.tier ?? '',
      maintainers: governance.maintainers,
      threshold: governance.threshold,
      reviewPeriodDays: governance.review_period_days ?? 0,
    },
    signatures: document.signatures && {
      signers: document.signatures.maintainers.map(
        (signer): Signer => ({
          name: signer.name,
          key: signer.key ?? signer.public_key ?? '',
          signature: signer.signature,
        }),
      ),
      threshold: document.signatures.threshold,
    },
    artifacts: artifactsOf(document.binary),
    limits: limitsOf(document.limits),
    network: {
      outbound: network?.outbound ?? [],
      outboundAny: network?.outbound_any ?? false,
      inbound: network?.inbound ?? [],
      udp: network?.udp ?? false,
    },
    events: { subscribe: events?.subscribe ?? [], publish: events?.publish ?? [], topics: events?.topics ?? [] },
    api: { methods: api?.methods ?? [], version: api?.version, allowedCallers: api?.allowed_callers ?? [] },
    config: configOf(document),
    health: {
      mode: health?.mode ?? 'invocation',
      intervalMs: health?.interval_ms ?? 3000,
      timeoutMs: health?.timeout_ms ?? 3000,
    },
    restart: {
      policy: restart?.policy ?? 'on-failure',
      maxCrashes: restart?.max_crashes ?? 5,
      windowS: restart?.window_s ?? 600,
    },
    update: { mode: update?.mode ?? 'restart', state: update?.state ?? 'rollback' },
    storage: { schemaVersion: storage?.schema_version ?? 1, quotaMb: storage?.quota_mb },
    document: raw,
  };
}

function artifactsOf(binary: ManifestDocument['binary']): readonly Artifact[] {
  const listed = (binary?.artifacts ?? []).map(
    (one): Artifact => ({
      platform: one.platform,
      kind: one.kind ?? 'file',
      hash: one.hash,
      size: one.size,
      downloadUrl: one.download_url,
    }),
  );
  if (binary?.hash === undefined || binary.size === undefined) return listed;
  const any: Artifact = {
    platform: '',
    kind: 'file',
    hash: binary.hash,
    size: binary.size,
    downloadUrl: binary.download_url,
  };
  return [any, ...listed];
}

function configOf({ config, config_schema }: ManifestDocument): ReadonlyMap<string, ConfigField> {
  const described = [...(config_schema ?? [])].map(([key, description]): [string, ConfigField] => [
    key,
    {
      type: 'string',
      default: undefined,
      required: false,
      secret: false,
      min: undefined,
      max: undefined,
      enum: [],
      description,
    },
  ]);
  return new Map([...(config ?? []), ...described]);
}
