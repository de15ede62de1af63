import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HealthStatus, InvocationError, InvocationFailureKind, runModule } from '../../../src/sdk/index.js';

/**
 * A module that cannot keep a secret: it tells its configuration by every way there is, and what it is told to do:
 * `label = "refuse"` refuses a change in words that hold the secret, `label = "crash"` ends it with them.
 */
let config: Readonly<Record<string, unknown>> = {};
const told = (): string => JSON.stringify(config);

await runModule(
  {
    version: '1.0.0',
    handlers: {
      health: () => ({ status: HealthStatus.DEGRADED, message: told() }),
      configChange({ configJson }) {
        const next = JSON.parse(configJson) as Record<string, unknown>;
        process.stdout.write(`offered ${configJson}\n`);
        if (next.label === 'refuse') throw new InvocationError(InvocationFailureKind.FAILED, `no: ${configJson}`);
        config = next;
        if (next.label !== 'crash') return;
        process.stderr.write(`last words ${told()}\n`);
        setTimeout(() => process.exit(3), 50);
      },
    },
  },
  async (module, signal) => {
    config = module.config;
    process.stdout.write(`stdout ${told()}\n`);
    process.stderr.write(`stderr ${told()}\n`);
    process.stderr.write(`${'x'.repeat(8 * 1024 - 10)}${String(config.password)}\n`);
    module.log.debug(`log ${told()}`);
    module.log.info('fields', { password: String(config.password) });
    writeFileSync(join(module.dataDir, 'own.txt'), 'its own directory is its own business');
    await module.ready();
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  },
);
