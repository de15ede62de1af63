import type { CliSpec } from '../../gen/ts/modhost/v1/rpc.js';
import { HostError } from '../contract/error.js';
import type { Invocations } from './invocations.js';

/** Endpoints and overrides of one session together: `Limits.max_rpc_endpoints`. */
export const MAX_RPC_ENDPOINTS = 64;

/** What the book needs of the session that registers. */
export interface RegisteringSession {
  readonly identity: { readonly moduleId: string };
  /** Where requests go. */
  readonly invocations: Invocations;
  /** Its registrations are gone when this fires. */
  readonly ended: AbortSignal;
}

/** How a module describes a JSON-RPC method. */
export interface EndpointFacts {
  readonly method: string;
  /** One printable line. */
  readonly description: string;
  /** Longest time for one request, milliseconds. */
  readonly timeoutMs: number;
}

/** One JSON-RPC method that a module answers. */
export interface Endpoint extends EndpointFacts {
  /** The module that answers. */
  readonly module: string;
  readonly invocations: Invocations;
}

/** The commands that a module has registered. */
export interface CommandSet {
  readonly module: string;
  /** Its texts are printable. */
  readonly spec: CliSpec;
  readonly invocations: Invocations;
}

/** What the sessions of one host have registered for people and programs outside; gone with each session. */
export interface EndpointBook {
  /** Adds a method, or replaces this module's own of that name. @throws NAME_TAKEN, QUOTA_EXCEEDED, SESSION_CLOSED */
  registerEndpoint(session: RegisteringSession, facts: EndpointFacts): void;
  /** @throws NOT_FOUND: this session has no such method */
  unregisterEndpoint(session: RegisteringSession, method: string): void;
  /** Adds an override of the node's method. @throws NAME_TAKEN, QUOTA_EXCEEDED, SESSION_CLOSED */
  registerOverride(session: RegisteringSession, facts: EndpointFacts): void;
  /** @throws NOT_FOUND: this session does not hold it */
  unregisterOverride(session: RegisteringSession, method: string): void;
  /** The command set of a session; a new one replaces it. @throws NAME_TAKEN, SESSION_CLOSED */
  registerCommands(session: RegisteringSession, spec: CliSpec): void;
  endpoint(method: string): Endpoint | undefined;
  /** By ascending method. */
  endpoints(): Endpoint[];
  override(method: string): Endpoint | undefined;
  /** By ascending method. */
  overrides(): Endpoint[];
  /** By the set's own name; where no set has it, by the module's. */
  commandSet(name: string): CommandSet | undefined;
  /** By ascending name. */
  commandSets(): CommandSet[];
}

interface Held<T> {
  readonly session: RegisteringSession;
  readonly entry: T;
}

/** Makes an empty book. */
export function createEndpointBook(): EndpointBook {
  const endpoints = new Map<string, Held<Endpoint>>();
  const overrides = new Map<string, Held<Endpoint>>();
  const commands = new Map<string, Held<CommandSet>>();
  const known = new WeakSet<RegisteringSession>();

  const drop = (session: RegisteringSession): void => {
    for (const held of [endpoints, overrides, commands]) {
      for (const [name, one] of held) if (one.session === session) held.delete(name);
    }
  };
  /** What a session has registered goes with it, once however much it registers. */
  const follow = (session: RegisteringSession): void => {
    if (session.ended.aborted) throw HostError.from(session.ended.reason);
    if (known.has(session)) return;
    known.add(session);
    session.ended.addEventListener('abort', () => drop(session), { once: true });
  };
  const assertFree = (held: Held<unknown> | undefined, session: RegisteringSession, what: string): void => {
    if (held === undefined || held.session.identity.moduleId === session.identity.moduleId) return;
    throw new HostError('NAME_TAKEN', `${held.session.identity.moduleId} has ${what} already; choose another name`);
  };
  const countOf = (session: RegisteringSession): number => {
    let count = 0;
    for (const held of [endpoints, overrides]) for (const one of held.values()) if (one.session === session) count += 1;
    return count;
  };
  const put = (into: Map<string, Held<Endpoint>>, session: RegisteringSession, facts: EndpointFacts): void => {
    const before = into.get(facts.method);
    assertFree(before, session, `the method ${facts.method}`);
    if (before?.session !== session && countOf(session) >= MAX_RPC_ENDPOINTS) {
      throw new HostError('QUOTA_EXCEEDED', `a module has at most ${MAX_RPC_ENDPOINTS} endpoints and overrides`);
    }
    follow(session);
    const { method, description, timeoutMs } = facts;
    const { invocations, identity } = session;
    into.set(method, { session, entry: { method, description, timeoutMs, module: identity.moduleId, invocations } });
  };
  const take = (from: Map<string, Held<Endpoint>>, session: RegisteringSession, method: string): void => {
    if (from.get(method)?.session !== session) throw new HostError('NOT_FOUND', 'this module has no such method');
    from.delete(method);
  };
  const sorted = <T>(held: ReadonlyMap<string, Held<T>>): T[] =>
    [...held].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { entry }]) => entry);

  return {
    registerEndpoint: (session, facts) => put(endpoints, session, facts),
    unregisterEndpoint: (session, method) => take(endpoints, session, method),
    registerOverride: (session, facts) => put(overrides, session, facts),
    unregisterOverride: (session, method) => take(overrides, session, method),
    registerCommands(session, spec) {
      assertFree(commands.get(spec.name), session, `the command set ${spec.name}`);
      follow(session);
      const { moduleId } = session.identity;
      for (const [name, { entry }] of commands) if (entry.module === moduleId) commands.delete(name);
      commands.set(spec.name, { session, entry: { module: moduleId, spec, invocations: session.invocations } });
    },
    endpoint: (method) => endpoints.get(method)?.entry,
    endpoints: () => sorted(endpoints),
    override: (method) => overrides.get(method)?.entry,
    overrides: () => sorted(overrides),
    commandSet: (name) =>
      commands.get(name)?.entry ?? [...commands.values()].find(({ entry }) => entry.module === name)?.entry,
    commandSets: () => sorted(commands),
  };
}
