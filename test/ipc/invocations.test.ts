import { connect } from 'node:net';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type Invocation,
  InvocationServiceClient,
  InvocationServiceService,
  type ServeRequest,
  type ServeResponse,
} from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../src/contract/error.js';
import { createInvocationService } from '../../src/services/invocation.js';
import type { InvocationWork } from '../../src/session/invocations.js';
import { createRig, type Rig, reasonOf } from './rig.js';

let rig: Rig;
let client: InvocationServiceClient;
afterEach(() => rig.dispose());

const start = async (): Promise<void> => {
  rig = await createRig({
    services: (session) => [{ definition: InvocationServiceService, impl: createInvocationService(session) }],
  });
  client = rig.client(InvocationServiceClient);
};

/** Calls of 1 MiB that one caller may have open: its half of 16 MiB, and each is a little larger than its content. */
const ONE_CALLERS = 7;

type Stream = ClientDuplexStream<ServeRequest, ServeResponse>;
interface Served {
  stream: Stream;
  /** Reason of its end, or OK. */
  ended: Promise<string>;
  invocations: Invocation[];
  cancelled: bigint[];
}

/** A Serve stream whose headers have come: it stands. */
const serve = async (): Promise<Served> => {
  const stream = client.serve();
  const served: Served = { stream, ended: endOf(stream), invocations: [], cancelled: [] };
  stream.on('data', ({ invocations, cancelledIds }: ServeResponse) => {
    served.invocations.push(...invocations);
    served.cancelled.push(...cancelledIds);
  });
  await new Promise<void>((resolve, reject) => {
    stream.once('metadata', () => resolve());
    stream.once('error', reject);
  });
  return served;
};

const endOf = (stream: Stream): Promise<string> =>
  reasonOf(
    new Promise<void>((resolve, reject) => {
      stream.once('error', reject);
      stream.once('end', () => resolve());
    }),
  );

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
};
const reason = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => HostError.from(error).reason,
  );
const api = (params: Uint8Array = new Uint8Array(0)): InvocationWork => ({
  $case: 'api',
  value: { method: 'm', params, caller: 'c', callerVersion: '1.0.0', callerGranted: [], depth: 1 },
});
const result = (id: bigint): ServeRequest => ({
  maxConcurrent: 0,
  results: [{ id, outcome: { $case: 'api', value: { result: Uint8Array.of(Number(id)) } } }],
});
const LONG = { timeoutMs: 60_000 };

describe('InvocationService.Serve', () => {
  it('stands by its headers before there is any work, and carries work and answers', async () => {
    await start();
    expect(await reason(rig.session.invocations.ask(api(), LONG))).toBe('MODULE_UNAVAILABLE');
    await rig.open();
    const { stream, invocations } = await serve();
    expect(rig.session.invocations.serving()).toBe(true);
    const asked = [1, 2, 3].map(() => rig.session.invocations.ask(api(), LONG));
    await until(() => invocations.length === 3);
    for (const id of [3n, 1n, 2n]) stream.write(result(id));
    expect(await Promise.all(asked)).toMatchObject([1, 2, 3].map((id) => ({ value: { result: Buffer.of(id) } })));
    expect(rig.session.violations()).toBe(0);
  });

  it('C133: breaches are counted in the session, and the stream goes on', async () => {
    await start();
    await rig.open();
    const { stream, invocations } = await serve();
    stream.write(result(5n));
    const asked = rig.session.invocations.ask(api(), LONG);
    await until(() => invocations.length === 1);
    stream.write({ maxConcurrent: 0, results: [...result(1n).results, ...result(1n).results] });
    expect(await asked).toMatchObject({ $case: 'api' });
    await until(() => rig.session.violations() === 2);
  });

  it('needs the handshake, and is one per session', async () => {
    await start();
    expect(await endOf(client.serve().resume())).toBe('HANDSHAKE_REQUIRED');
    await rig.open();
    const first = await serve();
    expect(await endOf(client.serve().resume())).toBe('STREAM_EXISTS');
    first.stream.end();
    expect(await first.ended).toBe('OK');
    await serve();
  });

  it('ends well at a half-close, and what is open fails; the same at a break', async () => {
    await start();
    await rig.open();
    const endings: ((stream: Stream) => void)[] = [
      (s) => s.end(),
      (s) => s.cancel(),
      () => rig.server.dropConnections(),
    ];
    for (const end of endings) {
      const { stream, invocations, ended } = await serve();
      const asked = reason(rig.session.invocations.ask(api(), LONG));
      await until(() => invocations.length === 1);
      end(stream);
      expect(await asked).toBe('MODULE_UNAVAILABLE');
      await ended;
      await until(() => !rig.session.invocations.serving());
      expect(rig.session.invocations.open()).toBe(0);
    }
  });

  it('C135: tells at once what was given up', async () => {
    await start();
    await rig.open();
    const { invocations, cancelled } = await serve();
    const caller = new AbortController();
    const asked = reason(rig.session.invocations.ask(api(), { ...LONG, signal: caller.signal }));
    await until(() => invocations.length === 1);
    caller.abort();
    expect(await asked).toBe('CANCELLED');
    await until(() => cancelled.length === 1);
  });

  it('a malformed message ends the stream with its reason', async () => {
    await start();
    await rig.open();
    const stream = client.makeBidiStreamRequest(
      InvocationServiceService.serve.path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
    );
    stream.resume();
    stream.write(Buffer.of(0x12, 0xff));
    expect(await endOf(stream as unknown as Stream)).toBe('MALFORMED_MESSAGE');
    expect(rig.session.invocations.serving()).toBe(false);
  });

  it('C134: a module that does not read holds what its callers ask for no longer than their deadlines', async () => {
    await start();
    await rig.open();
    const { stream } = await serve();
    stream.pause();
    const megabyte = new Uint8Array(1024 * 1024);
    for (let round = 0; round < 3; round++) {
      const asked = Array.from({ length: ONE_CALLERS }, () =>
        reason(rig.session.invocations.ask(api(megabyte), { timeoutMs: 100 })),
      );
      expect(new Set(await Promise.all(asked))).toEqual(new Set(['DEADLINE_EXCEEDED']));
      expect(rig.session.invocations.open()).toBe(0);
    }
  });

  it('ends with the session, in the session’s words', async () => {
    await start();
    await rig.open();
    const { ended, invocations } = await serve();
    const asked = reason(rig.session.invocations.ask(api(), LONG));
    await until(() => invocations.length === 1);
    rig.session.close(new HostError('SESSION_CLOSED', 'the module was stopped'));
    expect(await asked).toBe('MODULE_UNAVAILABLE');
    expect(await ended).toBe('SESSION_CLOSED');
  });
});

describe('a ping on the module’s connections', () => {
  it('is answered by a live module, and by none when nobody is there to ask', async () => {
    await start();
    expect(await rig.server.ping(1_000)).toBe(true);
    await rig.open();
    expect(rig.server.connectionCount()).toBe(1);
    expect(await rig.server.ping(5_000)).toBe(true);
  });

  it('C140: is not answered by a peer that hangs, however often it is asked; one connection that answers is enough', async () => {
    await start();
    const silent = connect(rig.socketPath);
    silent.on('error', () => {});
    // a client's preface and empty settings; it answers nothing after that
    silent.write(
      Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0)]),
    );
    await until(() => rig.server.connectionCount() === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (let round = 0; round < 12; round++) expect(await rig.server.ping(20)).toBe(false);
    await rig.open();
    expect(await rig.server.ping(5_000)).toBe(true);
    silent.destroy();
  });
});
