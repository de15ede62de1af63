import { HostError } from '../contract/error.js';
import type { Manifest } from '../manifest/manifest.js';
import { HOST_DEPENDENCIES } from '../manifest/rules.js';

/** Names of the modules that one must have loaded before it. */
export function hardDependencies(manifest: Manifest): string[] {
  return [...manifest.dependencies.keys()].filter((name) => !HOST_DEPENDENCIES.has(name));
}

/**
 * Modules in an order in which each comes after what it depends on, required or optional; by name where that leaves a
 * choice, so that every start is alike.
 *
 * @throws HostError DEPENDENCY_CYCLE with the chain
 */
export function startOrder(manifests: readonly Manifest[]): Manifest[] {
  const byName = new Map(manifests.map((manifest) => [manifest.name, manifest] as const));
  const ordered: Manifest[] = [];
  const done = new Set<string>();
  const visit = (manifest: Manifest, chain: readonly string[]): void => {
    if (done.has(manifest.name)) return;
    if (chain.includes(manifest.name)) {
      const circle = [...chain.slice(chain.indexOf(manifest.name)), manifest.name].join(' -> ');
      throw new HostError('DEPENDENCY_CYCLE', `modules depend on each other in a circle: ${circle}`, {
        details: { chain: circle },
      });
    }
    for (const name of [...manifest.dependencies.keys(), ...manifest.optionalDependencies.keys()].sort()) {
      const dependency = byName.get(name);
      if (dependency !== undefined) visit(dependency, [...chain, manifest.name]);
    }
    done.add(manifest.name);
    ordered.push(manifest);
  };
  for (const name of [...byName.keys()].sort()) visit(byName.get(name) as Manifest, []);
  return ordered;
}

/**
 * Checks that everything a module requires is loaded, in a version that it accepts.
 *
 * @param loaded version of a loaded module, or undefined
 * @throws HostError DEPENDENCY_MISSING, DEPENDENCY_CONFLICT
 */
export function assertDependencies(manifest: Manifest, loaded: (name: string) => string | undefined): void {
  for (const name of hardDependencies(manifest)) {
    const version = loaded(name);
    const range = manifest.dependencies.get(name);
    if (version === undefined) {
      throw new HostError('DEPENDENCY_MISSING', `${manifest.name} needs the module ${name}, which is not running`, {
        details: { module: manifest.name, needs: name },
      });
    }
    if (range !== undefined && !range.includes(version)) {
      throw new HostError('DEPENDENCY_CONFLICT', `${manifest.name} needs ${name} ${range.text}; ${version} is loaded`, {
        details: { module: manifest.name, needs: name, range: range.text, loaded: version },
      });
    }
  }
}
