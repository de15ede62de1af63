import type { LightningServiceService } from '../../gen/ts/modhost/v1/lightning.js';
import type { ServiceImpl } from '../contract/service.js';
import type { NodeApi } from '../node/node-api.js';
import { requireFeature } from './check.js';

/** Answers reads of the Lightning node. @param deps.node the port, budgeted for one module */
export function createLightningService({ node }: { node: NodeApi }): ServiceImpl<typeof LightningServiceService> {
  const lightning = () => requireFeature(node.lightning, 'lightning');
  return {
    async getNodeUrl(_request, { signal }) {
      const url = await lightning().getNodeUrl(signal);
      return { known: url !== undefined, nodeUrl: url ?? '' };
    },
    async getInfo(_request, { signal }) {
      return lightning().getInfo(signal);
    },
  };
}
