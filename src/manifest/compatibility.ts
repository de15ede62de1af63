import { HostError } from '../contract/error.js';
import { compareVersions } from '../core/version-range.js';
import type { Manifest } from './manifest.js';

/** The version of this host in the founding document's terms: what `blvm-node` and the `min_…_version` keys mean. */
export const COMPATIBILITY_VERSION = '1.0.0';

/**
 * Checks that this host is new enough for a module.
 *
 * @param modhostVersion version of the modhost package
 * @returns              warnings for the operator; they hinder nothing
 * @throws               HostError INCOMPATIBLE, naming what the module asks and what is here
 */
export function checkCompatibility(manifest: Manifest, modhostVersion: string): string[] {
  const refuse = (what: string, asked: string, here: string): never => {
    throw new HostError('INCOMPATIBLE', `${manifest.name} asks for ${what} ${asked}; this host is ${here}`, {
      details: { module: manifest.name, what, asked, here },
    });
  };
  const { minConsensusVersion, minProtocolVersion, minNodeVersion, testedWith } = manifest.compatibility;
  const minima: [string, string | undefined][] = [
    ['min_consensus_version', minConsensusVersion],
    ['min_protocol_version', minProtocolVersion],
    ['min_node_version', minNodeVersion],
  ];
  for (const [key, asked] of minima) {
    if (asked !== undefined && compareVersions(asked, COMPATIBILITY_VERSION) > 0)
      refuse(key, asked, COMPATIBILITY_VERSION);
  }
  const hosts: [string, string][] = [
    ['blvm-node', COMPATIBILITY_VERSION],
    ['modhost', modhostVersion],
  ];
  for (const [name, here] of hosts) {
    const range = manifest.dependencies.get(name);
    if (range !== undefined && !range.includes(here)) refuse(name, range.text, here);
  }
  return testedWith.length > 0 && !testedWith.includes(COMPATIBILITY_VERSION)
    ? [`${manifest.name} was tested with ${testedWith.join(', ')}, not with ${COMPATIBILITY_VERSION}`]
    : [];
}
