import { Server, ServerCredentials } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { gateHeaders } from '../../src/ipc/header-gate.js';
import { createStatusMapper } from '../../src/ipc/status.js';
import { ERRORS } from './rig.js';

it('holds the place where the library hands its streams over', () => {
  const server = new Server();
  gateHeaders(server, createStatusMapper(ERRORS));
  expect(Object.hasOwn(server, '_streamHandler')).toBe(true);
  server.createConnectionInjector(ServerCredentials.createInsecure()).destroy();
  const other = { createConnectionInjector() {} } as unknown as Server;
  expect(() => gateHeaders(other, createStatusMapper(ERRORS))).toThrow();
  server.forceShutdown();
});
