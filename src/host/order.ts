import { HostError } from '../contract/error.js';
import type { Manifest } from '../manifest/manifest.js';
import { HOST_DEPENDENCIES } from '../manifest/rules.js';

/** Names of the modules that one must have loaded before it. */
export function hardDependencies(manifest: Manifest): string[] {
  return [...manifest.dependencies.keys()].filter((name) => !HOST_DEPENDENCIES.has(name));
}

/** In which order modules start. */
export interface StartOrder {
  /** Each comes after what it depends on, required or optional; by name where that leaves a choice. */
  ordered: Manifest[];
  /** Modules that need themselves, with DEPENDENCY_CYCLE and the chain. */
  circles: ReadonlyMap<string, HostError>;
}

/**
 * Finds the order in which modules start. Circles fail their own modules alone; what a module can do without comes
 * before it only as far as that makes no circle.
 */
export function startOrder(manifests: readonly Manifest[]): StartOrder {
  const byName = new Map(manifests.map((manifest) => [manifest.name, manifest] as const));
  const names = [...byName.keys()].sort();
  const edges = new Map(
    names.map((name) => [name, new Set(hardDependencies(byName.get(name) as Manifest).sort())] as const),
  );
  const reaches = (from: string, to: string, seen: Set<string>): boolean => {
    if (from === to) return true;
    if (seen.has(from)) return false;
    seen.add(from);
    return [...(edges.get(from) ?? [])].some((next) => reaches(next, to, seen));
  };
  for (const name of names) {
    for (const wished of [...(byName.get(name) as Manifest).optionalDependencies.keys()].sort()) {
      if (byName.has(wished) && !reaches(wished, name, new Set())) edges.get(name)?.add(wished);
    }
  }
  const ordered: Manifest[] = [];
  const circles = new Map<string, HostError>();
  const done = new Set<string>();
  const visit = (manifest: Manifest, chain: readonly string[]): void => {
    if (done.has(manifest.name)) return;
    if (chain.includes(manifest.name)) {
      const members = chain.slice(chain.indexOf(manifest.name));
      const circle = [...members, manifest.name].join(' -> ');
      for (const member of members) {
        const message = `modules depend on each other in a circle: ${circle}`;
        circles.set(member, new HostError('DEPENDENCY_CYCLE', message, { details: { chain: circle } }));
      }
      return;
    }
    for (const name of edges.get(manifest.name) ?? []) {
      const dependency = byName.get(name);
      if (dependency !== undefined) visit(dependency, [...chain, manifest.name]);
    }
    done.add(manifest.name);
    ordered.push(manifest);
  };
  for (const name of names) visit(byName.get(name) as Manifest, []);
  return { ordered: ordered.filter(({ name }) => !circles.has(name)), circles };
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
