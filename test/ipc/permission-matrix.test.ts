import {
  type CallOptions,
  type ClientReadableStream,
  credentials,
  Metadata,
  Client as RawClient,
  type ServiceError,
} from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MethodFacts } from '../../src/contract/methods.js';
import { PERMISSIONS, type Permission } from '../../src/contract/permission.js';
import { SERVICE_ENTRIES } from '../../src/host/session-services.js';
import type { NodeApi } from '../../src/node/node-api.js';
import { createExternalHost, type ExternalHost } from '../host/external-host.js';
import { METHODS } from './rig.js';

/** Permission groups whose services ask the node: a refused call must not reach it. */
let nodeCalls = 0;

/** The node with every call counted. */
function counted(node: NodeApi): NodeApi {
  const count = (target: object): object =>
    new Proxy(target, {
      get(object, name) {
        const value: unknown = Reflect.get(object, name);
        if (typeof value === 'function') {
          return (...args: unknown[]) => {
            nodeCalls += 1;
            return Reflect.apply(value, object, args);
          };
        }
        return typeof value === 'object' && value !== null ? count(value) : value;
      },
    });
  return new Proxy(node, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name);
      if (['chain', 'utxo', 'mempool', 'network', 'mining'].includes(String(name))) return count(value as object);
      return typeof value === 'function' ? value.bind(object) : value;
    },
  });
}

/** A call whose answers are a stream, with an empty request sent. */
function openStream(client: RawClient, facts: MethodFacts, options: CallOptions): ClientReadableStream<Buffer> {
  const bytes = (buffer: Buffer): Buffer => buffer;
  if (!facts.requestStream) {
    return client.makeServerStreamRequest(facts.path, bytes, bytes, Buffer.alloc(0), new Metadata(), options);
  }
  const call = client.makeBidiStreamRequest(facts.path, bytes, bytes, new Metadata(), options);
  call.write(Buffer.alloc(0));
  return call;
}

/** One call with an empty request; resolves with the reason, `OK`, or what a stream said first. */
function callEmpty(client: RawClient, facts: MethodFacts): Promise<{ reason: string; details: string }> {
  const bytes = (buffer: Buffer): Buffer => buffer;
  const verdict = (error: ServiceError | null): { reason: string; details: string } =>
    error === null
      ? { reason: 'OK', details: '' }
      : { reason: String(error.metadata.get('modhost-reason')[0] ?? `code ${error.code}`), details: error.details };
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + 10_000 };
    const empty = Buffer.alloc(0);
    if (facts.responseStream) {
      const call = openStream(client, facts, options);
      // a stream that stands is allowed: whatever comes first settles it
      const open = setTimeout(() => {
        resolve({ reason: 'OK', details: '' });
        call.cancel();
      }, 500);
      const settle = (answer: { reason: string; details: string }): void => {
        clearTimeout(open);
        resolve(answer);
        call.cancel();
      };
      call.on('data', () => settle(verdict(null)));
      call.on('end', () => settle(verdict(null)));
      call.on('error', (error) => settle(verdict(error as ServiceError)));
    } else if (facts.requestStream) {
      const call = client.makeClientStreamRequest(facts.path, bytes, bytes, new Metadata(), options, (error) =>
        resolve(verdict(error)),
      );
      call.write(empty);
      call.end();
    } else {
      client.makeUnaryRequest(facts.path, bytes, bytes, empty, new Metadata(), options, (error) =>
        resolve(verdict(error)),
      );
    }
  });
}

const methods = [...METHODS.values()].filter(({ beforeHandshake }) => !beforeHandshake);

describe('C092 C093 every rpc under every permission', () => {
  const cases: (Permission | 'nothing')[] = ['nothing', ...PERMISSIONS];
  let host: ExternalHost;
  beforeAll(async () => {
    host = await createExternalHost({
      wrapNode: counted,
      callsPerSecond: 1_000_000,
      modules: cases.map((permission) => ({
        name: `with-${permission.toLowerCase().replaceAll('_', '-')}`,
        capabilities: permission === 'nothing' ? [] : [permission.toLowerCase()],
      })),
    });
  });
  afterAll(() => host.dispose());

  it('walks the whole contract', () => {
    expect(methods.length).toBeGreaterThan(90);
    expect(PERMISSIONS.length).toBe(29);
    expect(new Set(methods.map(({ permission }) => permission)).size).toBe(PERMISSIONS.length + 1);
  });

  it.each(cases)(
    '%s alone',
    async (granted) => {
      const name = `with-${granted.toLowerCase().replaceAll('_', '-')}`;
      const socket = await host.open(name);
      const client = new RawClient(`unix:${socket}`, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      });
      try {
        for (const facts of methods) {
          const allowed = facts.permission === 'NONE' || facts.permission === granted;
          const before = nodeCalls;
          const { reason, details } = await callEmpty(client, facts);
          const label = `${facts.path} with ${granted}`;
          if (allowed) {
            expect(reason, label).not.toBe('MISSING_PERMISSION');
          } else {
            expect(reason, label).toBe('MISSING_PERMISSION');
            expect(details, label).toContain(facts.permission.toLowerCase());
            // the host looks after its node at a pace of its own: a call that gets through does so again
            if (nodeCalls !== before) {
              const again = nodeCalls;
              await callEmpty(client, facts);
              expect(nodeCalls, `${label} reached the node`).toBe(again);
            }
          }
        }
      } finally {
        client.close();
      }
    },
    120_000,
  );
});

it('NOT_YET_SERVED shrinks only: no other service waits for a later version', () => {
  const paths = SERVICE_ENTRIES.filter(({ served }) => !served).map(
    ({ definition }) => Object.values(definition)[0]?.path,
  );
  const waiting = paths.map((path) => /\.(\w+)Service\//.exec(path ?? '')?.[1] ?? '');
  const known = ['Filesystem', 'Metrics', 'Module', 'Pipeline', 'Storage', 'Timer'];
  expect(waiting.filter((name) => !known.includes(name))).toEqual([]);
});
