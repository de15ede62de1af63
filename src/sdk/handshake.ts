import type { SessionContext, SessionServiceService } from '../../gen/ts/modhost/v1/session.js';
import { PROTOCOL_MAX, PROTOCOL_MIN } from '../contract/protocol.js';
import type { CallOptions, ServiceClient } from './call.js';
import { ModhostError } from './error.js';

/** How this SDK names itself to the host. */
export const SDK_NAME = 'modhost-ts';
/** Version of this SDK: that of the package. */
export const SDK_VERSION = '0.1.0';

/** Who shakes hands. */
export interface HandshakeClaims {
  /** The 32 bytes of the token file. */
  token: Uint8Array;
  /** `name` of the manifest. */
  name: string;
  /** `version` of the manifest. */
  version: string;
}

/** What the host answered. */
export interface HandshakeAnswer {
  context: SessionContext;
  /** The module's configuration as the host wrote it. */
  configJson: string;
}

/**
 * Opens the session, or asks for its facts again.
 *
 * @throws ModhostError BAD_TOKEN, IDENTITY_MISMATCH, VERSION_MISMATCH, PROTOCOL_UNSUPPORTED, SESSION_CLOSED, …
 */
export async function handshake(
  session: ServiceClient<typeof SessionServiceService>,
  claims: HandshakeClaims,
  options: CallOptions = {},
): Promise<HandshakeAnswer> {
  const { context, configJson } = await session.handshake(
    {
      token: claims.token,
      moduleName: claims.name,
      moduleVersion: claims.version,
      protocolMin: PROTOCOL_MIN,
      protocolMax: PROTOCOL_MAX,
      sdkName: SDK_NAME,
      sdkVersion: SDK_VERSION,
    },
    options,
  );
  if (context === undefined) throw new ModhostError('PROTOCOL_VIOLATION', 'the host answered without a context');
  return { context, configJson };
}

/** The module's configuration as an object; integers beyond 2^53 lose digits here, `configJson` has them all. */
export function parseConfig(configJson: string): Readonly<Record<string, unknown>> {
  return configJson === '' ? {} : (JSON.parse(configJson) as Record<string, unknown>);
}
