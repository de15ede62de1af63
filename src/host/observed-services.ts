import type { RegisterApiRequest } from '../../gen/ts/modhost/v1/module.js';
import { ModuleServiceService } from '../../gen/ts/modhost/v1/module.js';
import type { RegisterCoreOverrideRequest } from '../../gen/ts/modhost/v1/rpc.js';
import { RpcServiceService } from '../../gen/ts/modhost/v1/rpc.js';
import type { CallContext } from '../contract/service.js';
import type { Served } from '../ipc/server.js';
import type { Observation } from './observation.js';

/** A unary method as services implement it. */
type Unary<Request> = (request: Request, context: CallContext) => Promise<unknown>;

/** The services of one session; what the module registers by them is seen once it was taken. */
export function observedServices(served: readonly Served[], observation: Observation): Served[] {
  const watched = <Request>(impl: object, name: string, note: (request: Request) => void): object => {
    const method = (impl as Readonly<Record<string, Unary<Request> | undefined>>)[name];
    if (method === undefined) return impl;
    const noted: Unary<Request> = async (request, context) => {
      const answer = await method.call(impl, request, context);
      note(request);
      return answer;
    };
    return { ...impl, [name]: noted };
  };
  return served.map(({ definition, impl }): Served => {
    if (definition === RpcServiceService) {
      const note = ({ method }: RegisterCoreOverrideRequest): void => observation.overrode([method]);
      return { definition, impl: watched(impl, 'registerCoreOverride', note) as typeof impl };
    }
    if (definition === ModuleServiceService) {
      const note = ({ methods }: RegisterApiRequest): void => observation.registeredApi(methods);
      return { definition, impl: watched(impl, 'registerApi', note) as typeof impl };
    }
    return { definition, impl };
  });
}
