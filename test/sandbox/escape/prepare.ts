/** Installs the compiler of the probes in C, ahead of the tests; `npm run setup -- --ci` calls it. */
import { installUnless } from '../../apt.js';
import { compilerPresence } from './compile.js';

await installUnless(compilerPresence, ['gcc', 'libc6-dev']);
