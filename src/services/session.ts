import type { SessionContext, SessionServiceService } from '../../gen/ts/modhost/v1/session.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import { cutBytes } from '../core/printable.js';
import { type Session, TOKEN_BYTES } from '../session/session.js';

/** Longest name that a manifest can have. */
const MAX_NAME_BYTES = 64;
/** Longest version that a manifest can have. */
const MAX_VERSION_BYTES = 256;
/** Longest name or version of an SDK, bytes; what is beyond is cut. */
const MAX_SDK_BYTES = 64;
/** Longest progress text, bytes; what is beyond is cut. */
const MAX_PROGRESS_BYTES = 1_024;

/** What the session service tells a module; made by the host, which knows limits, containment and node. */
export interface SessionFacts {
  /** The facts as they are now. */
  context(): SessionContext;
  /** The module's configuration as one JSON object; secrets only in the handshake's answer. */
  configJson(withSecrets: boolean): string;
  /** Milliseconds within which Ready or the next Starting must arrive. */
  readyWithinMs(): number;
}

/** Answers SessionService for one spawn. */
export function createSessionService(session: Session, facts: SessionFacts): ServiceImpl<typeof SessionServiceService> {
  return {
    async handshake(request) {
      if (request.token.byteLength === 0) throw new HostError('FIELD_REQUIRED', 'token is not set');
      if (request.moduleName === '') throw new HostError('FIELD_REQUIRED', 'module_name is not set');
      if (request.moduleVersion === '') throw new HostError('FIELD_REQUIRED', 'module_version is not set');
      if (Buffer.byteLength(request.moduleName) > MAX_NAME_BYTES) {
        throw new HostError('OUT_OF_RANGE', `module_name is over ${MAX_NAME_BYTES} bytes`);
      }
      if (Buffer.byteLength(request.moduleVersion) > MAX_VERSION_BYTES) {
        throw new HostError('OUT_OF_RANGE', `module_version is over ${MAX_VERSION_BYTES} bytes`);
      }
      session.handshake({
        // a token of another length is wrong, and hashing megabytes of it is nobody's business
        token: request.token.byteLength === TOKEN_BYTES ? request.token : new Uint8Array(0),
        moduleName: request.moduleName,
        moduleVersion: request.moduleVersion,
        protocolMin: request.protocolMin,
        protocolMax: request.protocolMax,
        sdk: `${cutBytes(request.sdkName, MAX_SDK_BYTES)} ${cutBytes(request.sdkVersion, MAX_SDK_BYTES)}`.trim(),
      });
      return { context: facts.context(), configJson: facts.configJson(true) };
    },
    async starting(request) {
      if (request.progressPercent > 100) throw new HostError('OUT_OF_RANGE', 'progress_percent is over 100');
      session.starting(request.progressPercent, cutBytes(request.message, MAX_PROGRESS_BYTES));
      return { readyWithinMs: facts.readyWithinMs() };
    },
    async ready() {
      session.ready();
      return {};
    },
    async getContext() {
      return { context: facts.context(), configJson: facts.configJson(false) };
    },
  };
}
