/** Compiles the Stratum V2 programs that the interop tests run, ahead of them; `npm run setup -- --ci` calls it. */
import { buildStratumApps } from './apps.js';

const presence = await buildStratumApps();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
