import type { ModuleDescription, ModuleServiceService, RegisterApiRequest } from '../../gen/ts/modhost/v1/module.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { HostError } from '../contract/error.js';
import { moduleNotFound } from '../contract/module-not-found.js';
import type { ServiceImpl } from '../contract/service.js';
import type { ApiOffer, CallRouter } from '../session/calls.js';
import type { Session } from '../session/session.js';
import { atMost, requireList, requireRange } from './check.js';
import { answerOf, failedCall } from './module-outcome.js';
import { namePage } from './name-page.js';

/** Most methods that a module may offer; `Limits.max_api_methods`. */
export const MAX_API_METHODS = 64;
/** Most callers that one offer may name: as many as a manifest can. */
const MAX_ALLOWED_CALLERS = 256;
/** Highest API version: what a uint32 holds. */
const MAX_API_VERSION = 0xffff_ffff;
/** Name of a method of a module's API. */
const METHOD = /^[a-z][a-z0-9_]{0,63}$/;
/** Name of a module. */
const MODULE = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
/** Longest name of a module, characters. */
const MAX_MODULE_CHARS = 64;

/** What modules may know of each other. */
export interface ModuleBook {
  /** Every module that the host knows, in any order. */
  names(): Iterable<string>;
  /** One of them; undefined when the host does not know it. */
  describe(name: string): ModuleDescription | undefined;
  /** Whether a call could succeed now; undefined when the host does not know it. */
  availability(name: string): { readonly available: boolean; readonly state: ModuleState } | undefined;
}

/** What the manifest's `[api]` lets a module offer; empty lists exclude nothing. */
export interface DeclaredApi {
  readonly methods: readonly string[];
  readonly allowedCallers: readonly string[];
}

/** What answers for the modules of a host. */
export interface ModuleServiceParts {
  readonly book: ModuleBook;
  readonly calls: CallRouter;
  /** What the session's own manifest says. */
  readonly declared: DeclaredApi;
}

/** Answers ModuleService for one spawn. */
export function createModuleService(
  session: Session,
  { book, calls, declared }: ModuleServiceParts,
): ServiceImpl<typeof ModuleServiceService> {
  return {
    async discover({ pageSize, pageToken }) {
      const { names, nextPageToken } = namePage(book.names(), pageSize, pageToken);
      return { modules: names.flatMap((name) => book.describe(name) ?? []), nextPageToken };
    },
    async getModule({ name }) {
      requireName(name, 'name');
      const module = book.describe(name);
      if (module !== undefined) return { module };
      throw moduleNotFound(name, book.names());
    },
    async isAvailable({ name }) {
      requireName(name, 'name');
      return book.availability(name) ?? { available: false, state: ModuleState.UNSPECIFIED };
    },
    async call({ target, method, params, minApiVersion, forInvocation }, context) {
      requireName(target, 'target');
      requireName(method, 'method');
      const call = { target, method, params, minVersion: minApiVersion, forInvocation };
      const outcome = await calls.call(session, call, context).catch((error: unknown) => {
        throw failedCall(error);
      });
      return answerOf(outcome, target);
    },
    async registerApi(request) {
      calls.offer(session, readOffer(request, declared));
      return {};
    },
    async unregisterApi() {
      if (!calls.withdraw(session)) throw new HostError('NOT_FOUND', 'no API is registered');
      return {};
    },
  };
}

function requireName(value: string, field: string): void {
  if (value === '') throw new HostError('FIELD_REQUIRED', `${field} is required: a name`);
}

/** @throws FIELD_REQUIRED, INVALID_REQUEST, OUT_OF_RANGE, QUOTA_EXCEEDED */
function readOffer({ methods, apiVersion, allowedCallers }: RegisterApiRequest, declared: DeclaredApi): ApiOffer {
  if (methods.length > MAX_API_METHODS) {
    throw new HostError('QUOTA_EXCEEDED', `a module offers at most ${MAX_API_METHODS} methods`);
  }
  requireList(methods, MAX_API_METHODS, 'methods');
  requireRange(apiVersion, 1, MAX_API_VERSION, 'api_version');
  atMost(allowedCallers, MAX_ALLOWED_CALLERS, 'allowed_callers');
  const offered = uniqueNames(methods, (name) => METHOD.test(name), 'methods');
  const callers = uniqueNames(
    allowedCallers,
    (name) => name.length <= MAX_MODULE_CHARS && MODULE.test(name),
    'allowed_callers',
  );
  assertWithin(offered, declared.methods, 'methods');
  assertWithin(callers, declared.allowedCallers, 'allowed_callers');
  const narrowed = callers.size > 0 ? callers : new Set(declared.allowedCallers);
  return { methods: offered, version: apiVersion, callers: narrowed.size > 0 ? narrowed : undefined };
}

function uniqueNames(names: readonly string[], isName: (name: string) => boolean, field: string): Set<string> {
  const unique = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (!isName(name)) throw new HostError('INVALID_REQUEST', `${field}[${index}] is no name that may stand there`);
    if (unique.has(name)) throw new HostError('INVALID_REQUEST', `${field}[${index}], ${name}, stands there twice`);
    unique.add(name);
  }
  return unique;
}

/** What the manifest lists is all there may be; a manifest that lists nothing excludes nothing. */
function assertWithin(names: Iterable<string>, declared: readonly string[], field: string): void {
  if (declared.length === 0) return;
  for (const name of names) {
    if (!declared.includes(name)) {
      throw new HostError('INVALID_REQUEST', `${field}: [api] of the manifest does not list ${name}`);
    }
  }
}
