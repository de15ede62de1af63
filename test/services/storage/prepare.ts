/** Installs strace, which shows what was synced before each answer, ahead of the tests; `npm run setup -- --ci` calls it. */
import { installUnless } from '../../apt.js';
import { stracePresence } from './strace-presence.js';

await installUnless(stracePresence, ['strace']);
