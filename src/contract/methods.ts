import { type DescExtension, type DescMethod, type FileRegistry, getOption, hasOption } from '@bufbuild/protobuf';
import type { Permission } from './permission.js';
import { permissionFromNumber } from './permission.js';

/** What the contract declares of one rpc. */
export interface MethodFacts {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Full name of the service, for example `modhost.v1.ChainService`. */
  readonly service: string;
  readonly name: string;
  /** What the guard demands; `NONE` for the rpcs that every open session may call. */
  readonly permission: Permission | 'NONE';
  readonly stability: 'STABLE' | 'ALPHA';
  /** Price in the call budget, at least 1. */
  readonly weight: number;
  /** Served before the handshake. */
  readonly beforeHandshake: boolean;
  /** Full name of the request message. */
  readonly requestType: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** Packages whose rpcs a module can reach; each rpc in them must carry its decision. */
const MODULE_PACKAGES = new Set(['modhost.v1', 'modhost.event.v1']);

/** Package of the operator's own services. */
const OPERATOR_PACKAGE = 'modhost.admin.v1';

const STABILITY_ALPHA = 1;
const STABILITY_STABLE = 2;

/**
 * Every rpc that a module can reach, by path, from the options in the descriptor set.
 *
 * @throws Error when an rpc lacks its permission or stability: the host does not start on a contract with a hole
 */
export function readMethods(registry: FileRegistry): ReadonlyMap<string, MethodFacts> {
  const option = (name: string): DescExtension => {
    const extension = registry.getExtension(`modhost.v1.${name}`);
    if (extension === undefined) throw new Error(`the contract lacks the method option ${name}`);
    return extension;
  };
  const permission = option('permission');
  const stability = option('stability');
  const weight = option('weight');
  const beforeHandshake = option('before_handshake');
  return readServices(
    registry,
    (name) => MODULE_PACKAGES.has(name),
    (method, path) => ({
      permission: readPermission(method, permission, path),
      stability: readStability(method, stability, path),
      weight: Math.max(1, Number(getOption(method, weight))),
      beforeHandshake: Boolean(getOption(method, beforeHandshake)),
    }),
  );
}

/** Every rpc of the operator's socket: no module reaches it, so its rpcs declare no permission. */
export function readOperatorMethods(registry: FileRegistry): ReadonlyMap<string, MethodFacts> {
  return readServices(
    registry,
    (name) => name === OPERATOR_PACKAGE,
    () => ({ permission: 'NONE', stability: 'STABLE', weight: 1, beforeHandshake: true }),
  );
}

/** What the contract declares of a method, beside its place and its form. */
type Declared = Pick<MethodFacts, 'permission' | 'stability' | 'weight' | 'beforeHandshake'>;

/** Facts of every rpc in the packages that are wanted, by path. */
function readServices(
  registry: FileRegistry,
  isWanted: (packageName: string) => boolean,
  declared: (method: DescMethod, path: string) => Declared,
): ReadonlyMap<string, MethodFacts> {
  const methods = new Map<string, MethodFacts>();
  for (const type of registry) {
    if (type.kind !== 'service' || !isWanted(type.file.proto.package)) continue;
    for (const method of type.methods) {
      const path = `/${type.typeName}/${method.name}`;
      methods.set(path, {
        path,
        service: type.typeName,
        name: method.name,
        ...declared(method, path),
        requestType: method.input.typeName,
        requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
        responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
      });
    }
  }
  return methods;
}

function readPermission(method: DescMethod, option: DescExtension, path: string): Permission | 'NONE' {
  const permission = hasOption(method, option) ? permissionFromNumber(Number(getOption(method, option))) : undefined;
  if (permission === undefined) throw new Error(`${path} declares no permission`);
  return permission;
}

function readStability(method: DescMethod, option: DescExtension, path: string): 'STABLE' | 'ALPHA' {
  const value = hasOption(method, option) ? Number(getOption(method, option)) : 0;
  if (value === STABILITY_STABLE) return 'STABLE';
  if (value === STABILITY_ALPHA) return 'ALPHA';
  throw new Error(`${path} declares no stability`);
}
