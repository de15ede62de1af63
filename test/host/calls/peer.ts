import {
  type ApiMethod,
  apiHandler,
  ModhostError,
  type Module,
  ModuleFailure,
  runModule,
} from '../../../src/sdk/index.js';

/** A module that others call, and that calls others, in TypeScript over the SDK: the same methods as `peer.py` has. */

interface Order {
  target: string;
  method: string;
  params?: unknown;
  bind?: boolean;
  timeout_ms?: number;
}

const text = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes);
const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const say = (...words: unknown[]): void => void process.stdout.write(`${words.join(' ')}\n`);

let self: Module | undefined;

const methods: Record<string, ApiMethod> = {
  facts: (params, { caller, callerVersion, callerGranted, depth }, { timeLeftMs }) =>
    json({
      caller,
      version: callerVersion,
      granted: callerGranted,
      depth,
      left_ms: Math.ceil(timeLeftMs()),
      params: text(params),
    }),
  async relay(params, { depth }, context) {
    const order = JSON.parse(text(params)) as Order;
    const told = { depth, left_ms: Math.ceil(context.timeLeftMs()) };
    try {
      const given = await self?.call(order.target, order.method, json(order.params ?? {}), {
        timeoutMs: order.timeout_ms ?? 60_000,
        ...(order.bind === true ? { invocation: context } : {}),
      });
      return json({ ...told, inner: JSON.parse(text(given ?? json(null)) || 'null') });
    } catch (error) {
      const reason = error instanceof ModuleFailure ? `failure ${error.code}` : ModhostError.from(error).reason;
      say('relay ended', reason, Date.now());
      return json({ ...told, reason });
    }
  },
  async hang(params, _call, { signal }) {
    say('began', text(params));
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    say('cancelled', text(params), Date.now());
    return new Uint8Array(0);
  },
};

await runModule({ version: '1.0.0', handlers: { api: apiHandler(methods) } }, async (module, signal) => {
  self = module;
  await module.offer({ methods, version: 1 });
  await module.ready();
  await new Promise((resolve) => signal.addEventListener('abort', resolve));
});
