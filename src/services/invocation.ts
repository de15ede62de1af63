import type { InvocationServiceService, ServeRequest } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import type { InvocationStream } from '../session/invocations.js';
import type { Session } from '../session/session.js';

/** Answers InvocationService for one spawn. */
export function createInvocationService(session: Session): ServiceImpl<typeof InvocationServiceService> {
  return {
    async *serve(requests, { signal }) {
      const stream = session.invocations.attach();
      const stop = (): void => stream.close(HostError.from(signal.reason));
      signal.addEventListener('abort', stop, { once: true });
      void takeAnswers(requests, stream);
      try {
        for (;;) {
          const batch = await stream.next();
          if (batch === undefined) return;
          yield batch;
        }
      } finally {
        signal.removeEventListener('abort', stop);
        stream.close();
      }
    },
  };
}

/** Reads until the module has no more to say, which ends the stream; never rejects. */
async function takeAnswers(requests: AsyncIterable<ServeRequest>, stream: InvocationStream): Promise<void> {
  let isFirst = true;
  try {
    for await (const { maxConcurrent, results } of requests) {
      if (isFirst) stream.bound(maxConcurrent);
      isFirst = false;
      stream.answer(results);
    }
    stream.close();
  } catch (thrown) {
    stream.close(HostError.from(thrown));
  }
}
