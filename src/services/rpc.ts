import type { RpcServiceService } from '../../gen/ts/modhost/v1/rpc.js';
import { HostError } from '../contract/error.js';
import { HOST_METHODS, nodeMethodKind, OVERRIDABLE_METHODS } from '../contract/node-methods.js';
import type { ServiceImpl } from '../contract/service.js';
import { printable } from '../core/printable.js';
import type { EndpointBook, RegisteringSession } from '../session/endpoint-book.js';
import { requireRange, requireText } from './check.js';
import { checkedCommands } from './command-set.js';

/** Longest description of a method, bytes. */
const MAX_DESCRIPTION_BYTES = 1_024;
/** Time for one request when the module names none, and the most that it may name, milliseconds. */
const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_TIMEOUT_MS = 60_000;
/** A method's own name. */
const METHOD = /^[a-z][a-z0-9_]{0,63}$/;
/** What may stand before the dot: a module's name. */
const PREFIX = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
/** Longest whole name, characters: a module's name, a dot, a method. */
const MAX_NAME_CHARS = 64 + 1 + 64;

/** What RpcService needs. */
export interface RpcServiceParts {
  readonly book: EndpointBook;
  /** The node's methods that the module's manifest names in `rpc_overrides`. */
  readonly overrides: readonly string[];
  /** Further methods that the front door hands to the node. */
  isPassedThrough(method: string): boolean;
  /** True for the name of a module that the host knows. */
  isModule(name: string): boolean;
}

/** Answers RpcService for one spawn. */
export function createRpcService(
  session: RegisteringSession,
  parts: RpcServiceParts,
): ServiceImpl<typeof RpcServiceService> {
  const { book } = parts;
  const own = session.identity.moduleId;

  const assertName = (method: string): void => {
    if (method === '') throw new HostError('FIELD_REQUIRED', 'method is required');
    const wrong = new HostError('INVALID_REQUEST', `method must be [a-z][a-z0-9_]{0,63}, alone or after '${own}.'`);
    if (method.length > MAX_NAME_CHARS) throw wrong;
    const dot = method.indexOf('.');
    if (!METHOD.test(method.slice(dot + 1))) throw wrong;
    if (dot >= 0) {
      const prefix = method.slice(0, dot);
      if (!PREFIX.test(prefix)) throw wrong;
      // JSON-RPC 2.0, section 4: names that begin with "rpc." belong to the protocol
      if (prefix === 'rpc' || prefix !== own) {
        throw new HostError('RESERVED_NAME', `the prefix ${prefix}. is not this module's`);
      }
      return;
    }
    if (nodeMethodKind(method) !== undefined || parts.isPassedThrough(method)) {
      throw new HostError('RESERVED_NAME', `${method} is a method of the node`);
    }
    if (HOST_METHODS.has(method)) throw new HostError('RESERVED_NAME', `${method} is a method of the host`);
  };
  const line = (description: string): string =>
    printable(requireText(description, MAX_DESCRIPTION_BYTES, 'description'));

  return {
    async registerEndpoint({ method, description, timeoutMs }) {
      assertName(method);
      const time = timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : requireRange(timeoutMs, 1, MAX_TIMEOUT_MS, 'timeout_ms');
      book.registerEndpoint(session, { method, description: line(description), timeoutMs: time });
      return {};
    },
    async unregisterEndpoint({ method }) {
      book.unregisterEndpoint(session, method);
      return {};
    },
    async registerCoreOverride({ method, description }) {
      if (method === '') throw new HostError('FIELD_REQUIRED', 'method is required');
      if (!OVERRIDABLE_METHODS.has(method)) {
        throw new HostError('RESERVED_NAME', 'only the node answers this method; some others can be overridden', {
          details: { overridable: [...OVERRIDABLE_METHODS].join(',') },
        });
      }
      if (!parts.overrides.includes(method)) {
        throw new HostError('RESERVED_NAME', `the manifest does not name ${method} in rpc_overrides`);
      }
      book.registerOverride(session, { method, description: line(description), timeoutMs: DEFAULT_TIMEOUT_MS });
      return {};
    },
    async unregisterCoreOverride({ method }) {
      book.unregisterOverride(session, method);
      return {};
    },
    async registerCli({ spec }) {
      const checked = checkedCommands(spec);
      if (checked.name !== own && parts.isModule(checked.name)) {
        throw new HostError('NAME_TAKEN', `${checked.name} is the name of another module`);
      }
      book.registerCommands(session, checked);
      return {};
    },
  };
}
