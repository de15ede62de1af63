import { ModhostError, runModule } from '../../../../src/sdk/index.js';

/** A module in TypeScript over the SDK that wants one of the node's methods, and says what came of it. */
await runModule(
  {
    version: '1.0.0',
    handlers: { rpc: ({ paramsJson }) => ({ resultJson: `{"by":"rival","params":${paramsJson || 'null'}}` }) },
  },
  async (module, signal) => {
    const method = 'getdescriptorinfo';
    try {
      await module.clients.rpc.registerCoreOverride({ method, description: 'Another view.' });
      process.stdout.write(`holds ${method}\n`);
    } catch (error) {
      process.stdout.write(`refused ${method} ${ModhostError.from(error).reason}\n`);
    }
    await module.ready();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  },
);
