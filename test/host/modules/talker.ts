import { InvocationError, InvocationFailureKind, type Module, runModule } from '../../../src/sdk/index.js';

/** A module with commands for people, for the tests of `modhost cli`: what each does is its description. */

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const said = (stdout: string | Uint8Array, stderr: string | Uint8Array = '', exitCode = 0) => ({
  stdout: typeof stdout === 'string' ? bytes(stdout) : stdout,
  stderr: typeof stderr === 'string' ? bytes(stderr) : stderr,
  exitCode,
});
const argument = (name: string, more: object = {}) => ({
  ...{ name, longName: '', shortName: '', required: false, takesValue: false, defaultValue: '', about: '' },
  ...more,
});
const command = (name: string, about: string, args: ReturnType<typeof argument>[] = [], timeoutMs = 0) => ({
  ...{ name, about, timeoutMs },
  arguments: args,
});

const SPEC = {
  name: 'talk',
  about: 'says what it is told',
  subcommands: [
    command('echo', 'repeats its arguments as JSON', [
      argument('word', { required: true, about: 'what to repeat' }),
      argument('times', {
        longName: 'times',
        shortName: 'n',
        takesValue: true,
        defaultValue: '1',
        about: 'how often',
      }),
      argument('shout', { longName: 'shout', shortName: 's' }),
    ]),
    command('need', 'wants a flag', [argument('depth', { longName: 'depth', takesValue: true, required: true })]),
    command('raw', 'prints bytes that are no text, and control characters'),
    command('fail', 'ends with the exit code that it is given', [argument('code', { required: true })]),
    command('wait', 'waits until nobody wants its answer any more'),
    command('late', 'takes longer than it may', [], 300),
    command('refuse', 'finds fault with its arguments'),
    command('ask', 'asks the node over and over for half a second'),
  ],
};

let session: Module | undefined;

await runModule(
  {
    version: '1.0.0',
    handlers: {
      async cli({ subcommand, args, terminal, columns }, { signal }) {
        switch (subcommand) {
          case 'echo':
            return said(`${JSON.stringify({ args, terminal, columns })}\n`, 'to the side\n');
          case 'need':
            return said(`${args.join(' ')}\n`);
          case 'raw':
            return said(Uint8Array.of(0x1b, 0x5b, 0x32, 0x4a, 0xff, 0x00, 0x0a));
          case 'fail':
            return said('', 'it failed\n', Number(args[0]));
          case 'refuse':
            throw new InvocationError(InvocationFailureKind.INVALID_PARAMS, 'that is no depth');
          case 'ask': {
            const end = performance.now() + 500;
            let calls = 0;
            for (; performance.now() < end; calls += 1) await session?.chain.getChainTip({});
            return said(`${calls}\n`);
          }
          default:
            await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
            session?.log.info(`${subcommand} was given up`);
            return said('');
        }
      },
    },
  },
  async (module, signal) => {
    session = module;
    await module.clients.rpc.registerCli({ spec: SPEC });
    await module.ready();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  },
);
