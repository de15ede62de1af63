import { writeSync } from 'node:fs';
import { createObedientHost, obedient } from './obedient.js';
import { until } from './spawned-host.js';

/**
 * A host with modules of every fate, for a test that runs it as another user: prints, as one line of JSON, where each module
 * stands once it has met its fate, how many crashes were told of it, and why the last one came about. The variable of its
 * first argument, with the second for a value, stands in the environment of every module.
 */
const [variable = '', value = ''] = process.argv.slice(2);
const restart = (rules: string): string => `restart = { ${rules} }\n`;
const env = { [variable]: value };
const rig = await createObedientHost(
  {
    killed: obedient('', env),
    hung: obedient('', env),
    forked: obedient(restart('policy = "always"'), env),
    looping: obedient(restart('max_crashes = 2'), env),
    removed: obedient(restart('policy = "never"'), env),
  },
  { restartTimes: { firstMs: 50, maxMs: 50 } },
);
try {
  rig.atStart('looping', 'exit 3');
  await rig.host.autoLoad();
  rig.order('killed', 'brood', 'signal SIGKILL');
  rig.order('hung', 'brood', 'stop');
  rig.order('forked', 'daemon 0');
  rig.order('removed', 'exit 9');
  const ends: Record<string, string> = {
    killed: 'RUNNING',
    hung: 'RUNNING',
    forked: 'RUNNING',
    looping: 'QUARANTINED',
    removed: 'STOPPED',
  };
  const fates: unknown[] = [];
  for (const [name, state] of Object.entries(ends)) {
    await until(`the fate of ${name}`, () => rig.told(name).includes(`moduleStarted ${name}`));
    await until(`the end of ${name}`, () => rig.told(name).some((text) => /moduleCrashed|moduleStopped/.test(text)));
    await rig.reaches(name, state);
    const { restarts, lastError } = rig.status(name);
    const crashes = rig.told(name).filter((text) => text === `moduleCrashed ${name}`).length;
    fates.push([name, rig.state(name), crashes, restarts, lastError?.reason ?? 0]);
  }
  writeSync(1, `${JSON.stringify(fates)}\n`);
} finally {
  await rig.dispose();
}
