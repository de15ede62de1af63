/** Installs groff, which judges the manual page, ahead of the tests; `npm run setup -- --ci` calls it. */
import { installUnless } from '../apt.js';
import { groffPresence } from './groff-presence.js';

await installUnless(groffPresence, ['groff-base']);
