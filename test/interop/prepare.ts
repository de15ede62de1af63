/** Builds the btcd that the interop tests run, ahead of them; `npm run setup -- --ci` calls it. */
import { btcdAvailable } from './btcd.js';

const presence = await btcdAvailable();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
