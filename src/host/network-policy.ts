import { HostError } from '../contract/error.js';
import { type NetworkPolicy, parseProxy } from '../network/plan.js';
import type { NetworkSettings } from './options.js';

/** The policy of a host's settings. @throws HostError BAD_CONFIG */
export function networkPolicy(settings: NetworkSettings | undefined): NetworkPolicy {
  const proxy = settings?.proxy === undefined ? undefined : parseProxy(settings.proxy);
  if (settings?.onlynet !== undefined && proxy === undefined) {
    throw new HostError(
      'BAD_CONFIG',
      'network.onlynet = "onion" needs network.proxy: the SOCKS port of Tor, like 127.0.0.1:9050',
    );
  }
  return { proxy, onlynet: settings?.onlynet, inboundAddress: undefined };
}
