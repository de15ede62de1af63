import { type ApiInvocation, type ApiResult, InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import type { ModuleServiceService, RegisterApiRequest } from '../../gen/ts/modhost/v1/module.js';
import { type CallOptions, DEFAULT_TIMEOUT_MS, type ServiceClient } from './call.js';
import { type Handler, InvocationError, type WorkContext } from './invocations.js';

/** How one call of another module differs from the usual. */
export interface ModuleCallOptions extends CallOptions {
  /** The work that the call is made for: it then ends with that work, has no more time than it, and goes on its account. */
  invocation?: WorkContext;
  /** Lowest version of the other module's API that will do [any]. */
  minApiVersion?: number;
}

/** What another module reports when it was asked and could not. */
export class ModuleFailure extends Error {
  /** The module that was called. */
  readonly target: string;
  /** Its own code; the meaning is between the two modules. */
  readonly code: number;
  /** True when the parameters were wrong, so that the same call fails again. */
  readonly invalidParams: boolean;

  constructor(target: string, message: string, code: number, invalidParams: boolean) {
    super(message);
    this.name = 'ModuleFailure';
    this.target = target;
    this.code = code;
    this.invalidParams = invalidParams;
  }
}

/**
 * Calls a method of another module's API and gives its result.
 *
 * @throws ModuleFailure what the other module reports; ModhostError MODULE_NOT_FOUND, MODULE_UNAVAILABLE, METHOD_NOT_FOUND,
 *   CALLER_NOT_ALLOWED, INCOMPATIBLE, CALL_DEPTH, TOO_MANY_CALLS, DEADLINE_EXCEEDED, CANCELLED, …
 */
export type CallModule = (
  target: string,
  method: string,
  params?: Uint8Array,
  options?: ModuleCallOptions,
) => Promise<Uint8Array>;

/** Makes the caller of other modules. */
export function createCallModule(modules: Pick<ServiceClient<typeof ModuleServiceService>, 'call'>): CallModule {
  return async (target, method, params = new Uint8Array(0), options = {}) => {
    const { invocation, signal, minApiVersion = 0, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const signals = [signal, invocation?.signal].filter((one) => one !== undefined);
    const { outcome } = await modules.call(
      { target, method, params, minApiVersion, forInvocation: invocation?.id ?? 0n },
      {
        ...(signals.length === 0 ? {} : { signal: AbortSignal.any(signals) }),
        timeoutMs: Math.min(timeoutMs, invocation?.timeLeftMs() ?? timeoutMs),
      },
    );
    if (outcome?.$case === 'failure') {
      const { message, code, invalidParams } = outcome.value;
      throw new ModuleFailure(target, message, code, invalidParams);
    }
    return outcome?.value ?? new Uint8Array(0);
  };
}

/** One method of a module's API: the parameters, and who calls, as the host vouches for it. */
export type ApiMethod = (
  params: Uint8Array,
  call: Omit<ApiInvocation, 'params'>,
  context: WorkContext,
) => Uint8Array | Promise<Uint8Array>;

/** The handler for `api` that answers each method by its own function. */
export function apiHandler(methods: Readonly<Record<string, ApiMethod>>): Handler<ApiInvocation, ApiResult> {
  const known = new Map(Object.entries(methods));
  return async ({ params, ...call }, context) => {
    const method = known.get(call.method);
    if (method === undefined) {
      throw new InvocationError(InvocationFailureKind.METHOD_NOT_FOUND, `there is no method ${call.method}`);
    }
    return { result: await method(params, call, context) };
  };
}

/** What a module offers to others: `modhost.v1.RegisterApiRequest`, the lists of methods and callers as arrays. */
export interface ApiOffer {
  /** Names, or the functions that answer them, as `apiHandler` takes them. */
  readonly methods: readonly string[] | Readonly<Record<string, ApiMethod>>;
  /** Version of the API, 1 or higher. */
  readonly version: number;
  /** Modules that may call [all that hold call_module]. */
  readonly allowedCallers?: readonly string[];
}

/** The request that registers an offer. */
export function registrationOf({ methods, version, allowedCallers = [] }: ApiOffer): RegisterApiRequest {
  const names = Array.isArray(methods) ? (methods as readonly string[]) : Object.keys(methods);
  return { methods: [...names], apiVersion: version, allowedCallers: [...allowedCallers] };
}
