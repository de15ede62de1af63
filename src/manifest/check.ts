import type { ErrorReason } from '../contract/error.js';
import type { ManifestDocument } from './schema.js';

type Fail = (reason: ErrorReason, path: readonly PropertyKey[], text: string) => never;

/** Checks what no value shows by itself: facts that stand in two places, and tables that must agree. */
export function checkDocument(document: ManifestDocument, fail: Fail): void {
  checkOnePlace(document, fail);
  checkDependencies(document, fail);
  checkGovernance(document, fail);
  checkBinary(document, fail);
  checkEvents(document, fail);
}

function checkOnePlace(
  { capabilities, compatibility, entry_point, run, config, config_schema }: ManifestDocument,
  fail: Fail,
): void {
  if (capabilities !== undefined && compatibility?.capabilities !== undefined) {
    fail(
      'MANIFEST_AMBIGUOUS',
      ['compatibility', 'capabilities'],
      "stands beside 'capabilities' at top level; keep one",
    );
  }
  if (run?.command !== undefined && entry_point !== undefined) {
    fail('MANIFEST_AMBIGUOUS', ['run', 'command'], "stands beside 'entry_point'; keep the one that starts the module");
  }
  const interpreter = run?.command?.[0];
  if (run?.command !== undefined && (interpreter === undefined || !/^[a-z][a-z0-9._+-]*$/.test(interpreter))) {
    fail(
      'BAD_VALUE',
      ['run', 'command'],
      "must begin with an interpreter's name, like 'python'; the operator says where it is",
    );
  }
  for (const key of config_schema?.keys() ?? []) {
    if (config?.has(key)) fail('MANIFEST_AMBIGUOUS', ['config_schema', key], 'stands in [config] as well; keep one');
  }
}

function checkDependencies({ name, dependencies, optional_dependencies }: ManifestDocument, fail: Fail): void {
  if (dependencies?.has(name)) fail('DEPENDENCY_CYCLE', ['dependencies', name], 'is the module itself');
  for (const key of optional_dependencies?.keys() ?? []) {
    if (key === name) fail('DEPENDENCY_CYCLE', ['optional_dependencies', key], 'is the module itself');
    if (dependencies?.has(key)) {
      fail('MANIFEST_AMBIGUOUS', ['optional_dependencies', key], 'stands in [dependencies] as well; keep one');
    }
  }
}

function checkGovernance({ governance, signatures }: ManifestDocument, fail: Fail): void {
  const maintainers = governance?.maintainers ?? [];
  if (new Set(maintainers).size < maintainers.length) {
    fail('DUPLICATE_SIGNER', ['governance', 'maintainers'], 'names one maintainer twice');
  }
  if (governance !== undefined && governance.threshold.total !== maintainers.length) {
    fail(
      'GOVERNANCE_MISMATCH',
      ['governance', 'threshold'],
      `must be of ${maintainers.length}, the number of maintainers`,
    );
  }
  if (signatures === undefined) return;
  const { required, total } = signatures.threshold;
  if (governance?.threshold.required !== required || governance.threshold.total !== total) {
    fail('GOVERNANCE_MISMATCH', ['signatures', 'threshold'], 'must equal the threshold of [governance]');
  }
  const seen = new Set<string>();
  for (const [index, signer] of signatures.maintainers.entries()) {
    const path = ['signatures', 'maintainers', index];
    if (!maintainers.includes(signer.name))
      fail('GOVERNANCE_MISMATCH', [...path, 'name'], 'is no maintainer of [governance]');
    if (seen.has(signer.name)) fail('DUPLICATE_SIGNER', [...path, 'name'], 'stands there twice');
    seen.add(signer.name);
    if (signer.key === undefined && signer.public_key === undefined)
      fail('FIELD_REQUIRED', [...path, 'key'], 'is required');
    if (signer.key !== undefined && signer.public_key !== undefined) {
      fail('MANIFEST_AMBIGUOUS', [...path, 'public_key'], "stands beside 'key'; keep one");
    }
  }
}

function checkBinary({ binary }: ManifestDocument, fail: Fail): void {
  if (binary === undefined) return;
  const artifacts = binary.artifacts ?? [];
  const isWhole = binary.hash !== undefined || binary.size !== undefined || binary.download_url !== undefined;
  if (isWhole || artifacts.length === 0) {
    if (binary.hash === undefined) fail('FIELD_REQUIRED', ['binary', 'hash'], 'is required');
    if (binary.size === undefined) fail('BAD_SIZE', ['binary', 'size'], 'is required beside the hash');
  }
  const platforms = artifacts.map((artifact) => artifact.platform);
  const twice = platforms.findIndex((platform, index) => platforms.indexOf(platform) < index);
  if (twice >= 0) {
    fail('MANIFEST_AMBIGUOUS', ['binary', 'artifacts', twice, 'platform'], 'has an artifact already; keep one');
  }
}

function checkEvents({ name, events }: ManifestDocument, fail: Fail): void {
  for (const [index, topic] of (events?.topics ?? []).entries()) {
    if (!topic.startsWith(`${name}.`))
      fail('EVENT_RESERVED', ['events', 'topics', index], `must begin with '${name}.'`);
  }
}
