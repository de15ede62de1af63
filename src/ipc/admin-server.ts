import { setMaxListeners } from 'node:events';
import type { Socket } from 'node:net';
import { Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { AdminServiceService } from '../../gen/ts/modhost/admin/v1/admin.js';
import { DevchainServiceService } from '../../gen/ts/modhost/admin/v1/devchain.js';
import type { HostControl } from '../admin/host-control.js';
import { createAdminService, createDevchainService } from '../admin/service.js';
import type { ContractRegistry } from '../contract/descriptors.js';
import { HostError } from '../contract/error.js';
import { readOperatorMethods } from '../contract/methods.js';
import { createReflection } from '../contract/reflection.js';
import { createStrictWire } from '../contract/strict-wire.js';
import { delay } from '../core/delay.js';
import type { Logger } from '../core/logger.js';
import { adaptService } from './adapt.js';
import type { Guard } from './guard.js';
import type { ReservedSocket } from './socket.js';
import { answerForeignStatuses, type StatusMapper } from './status.js';
import { answerUnknownMethods } from './unknown-method.js';

/** Largest message on the operator's socket. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Connections at a time: a handful of followers, a dashboard, scripts. */
export const MAX_ADMIN_CONNECTIONS = 64;
/** How long streams whose source has ended have for its last words, milliseconds. */
const LAST_WORDS_MS = 50;
/** How long open streams may take to end when the host stops. */
const DRAIN_MS = 500;

/** Both names under which clients ask for reflection. */
const REFLECTION_SERVICES = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'];

/** The operator's end of a host. */
export interface AdminServer {
  close(): Promise<void>;
}

/** What the operator's socket is made of. */
export interface AdminServerOptions {
  /** The socket of mode 0600, on which callers may wait already. */
  socket: ReservedSocket;
  control: HostControl;
  statuses: StatusMapper;
  registry: ContractRegistry;
  log: Logger;
}

/**
 * Answers on the operator's socket: mode 0600, so only the host's own user and root reach it. Its services need no
 * permission, and reflection is on, unlike on module sockets.
 */
export function createAdminServer(options: AdminServerOptions): AdminServer {
  const { control, statuses, registry, log } = options;
  const end = new AbortController();
  // every call in flight listens
  setMaxListeners(0, end.signal);
  const grpc = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.enable_channelz': 0,
    interceptors: [answerForeignStatuses(statuses)],
  } as ConstructorParameters<typeof Server>[0]);
  answerUnknownMethods(grpc, statuses);
  const lane = {
    guard: createOpenGuard(end.signal),
    statuses,
    wire: createStrictWire(registry),
    methods: readOperatorMethods(registry),
    log,
  };
  const services = [
    { definition: AdminServiceService, impl: createAdminService(control) },
    { definition: DevchainServiceService, impl: createDevchainService(control) },
  ];
  for (const { definition, impl } of services) {
    // biome-ignore lint/suspicious/noExplicitAny: ServiceImpl has checked the types where the service was made
    const adapted = adaptService(definition, impl as any, lane);
    grpc.addService(adapted.definition, adapted.handlers as unknown as UntypedServiceImplementation);
  }
  addReflection(grpc, registry, [...new Set([...lane.methods.values()].map(({ service }) => service))]);

  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const connections = new Set<Socket>();
  options.socket.answer((socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    injector.injectConnection(socket);
  });
  return {
    async close() {
      const closed = options.socket.close();
      // streams whose source has ended end by themselves, after its last words
      await delay(LAST_WORDS_MS);
      end.abort(new HostError('HOST_STOPPING', 'the host is stopping'));
      injector.drain(DRAIN_MS);
      const timer = setTimeout(() => {
        for (const socket of connections) socket.destroy();
      }, DRAIN_MS);
      await closed;
      clearTimeout(timer);
      injector.destroy();
      grpc.forceShutdown();
    },
  };
}

/** Lets everything pass: whoever reaches the socket is the operator. Calls end with the host. */
function createOpenGuard(ended: AbortSignal): Guard {
  return {
    admit({ deadlineUnixMs }) {
      const controller = new AbortController();
      const stop = (): void => controller.abort(ended.reason);
      if (ended.aborted) stop();
      else ended.addEventListener('abort', stop, { once: true });
      const leftMs = Number.isFinite(deadlineUnixMs) ? Math.min(deadlineUnixMs - Date.now(), 2 ** 31 - 1) : undefined;
      const expire = (): void =>
        controller.abort(new HostError('DEADLINE_EXCEEDED', 'the deadline of the call passed'));
      const timer = leftMs === undefined ? undefined : setTimeout(expire, Math.max(0, leftMs));
      return {
        signal: controller.signal,
        timeLeftMs: () => leftMs ?? Number.POSITIVE_INFINITY,
        cancel: () => controller.abort(new HostError('CANCELLED', 'the caller cancelled')),
        release() {
          ended.removeEventListener('abort', stop);
          clearTimeout(timer);
        },
      };
    },
  };
}

function addReflection(grpc: Server, registry: ContractRegistry, services: readonly string[]): void {
  const answer = createReflection(registry, services);
  const bytes = (buffer: Buffer): Buffer => buffer;
  for (const name of REFLECTION_SERVICES) {
    const definition = {
      serverReflectionInfo: {
        path: `/${name}/ServerReflectionInfo`,
        requestStream: true,
        responseStream: true,
        requestSerialize: bytes,
        requestDeserialize: bytes,
        responseSerialize: bytes,
        responseDeserialize: bytes,
      },
    } as const;
    grpc.addService(definition, {
      serverReflectionInfo: (call: import('@grpc/grpc-js').ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (request: Buffer) => {
          try {
            call.write(answer(request));
          } catch {
            call.destroy();
          }
        });
        call.on('error', () => {});
        call.on('end', () => call.end());
      },
    });
  }
}
