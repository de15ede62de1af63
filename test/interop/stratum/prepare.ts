/** Compiles the Stratum V2 programs that the interop tests run, ahead of them; `npm run setup -- --ci` calls it. */
import { installUnless } from '../../apt.js';
import { buildStratumApps, capnpPresence } from './apps.js';

// pool_sv2 generates code from Cap'n Proto schemas while it is compiled.
await installUnless(capnpPresence, ['capnproto', 'libcapnp-dev']);
const presence = await buildStratumApps();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
