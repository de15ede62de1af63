import type { NodeServiceService } from '../../gen/ts/modhost/v1/node.js';
import type { ServiceImpl } from '../contract/service.js';
import type { NodeApi } from '../node/node-api.js';

/** Answers which node stands behind the host. @param deps.node the port, budgeted for one module */
export function createNodeService({ node }: { node: NodeApi }): ServiceImpl<typeof NodeServiceService> {
  return {
    getNodeInfo: (_request, { signal }) => node.getInfo(signal),
  };
}
