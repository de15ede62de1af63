import { runEscapeSuite } from './suite.js';

/**
 * The suite as a program of its own, so that any user, and any unit with restrictions of its own, can run it:
 *
 *     MODHOST_TEST_SECRET=text node --import tsx suite-program.ts BUILD PARENT
 *
 * BUILD holds the compiled probes (`compile.ts`), PARENT is a directory to work in. It prints one `SuiteReport` as JSON.
 */
const [build = '', parent = ''] = process.argv.slice(2);
const secret = process.env.MODHOST_TEST_SECRET;
if (secret === undefined || build === '' || parent === '') {
  process.stderr.write('usage: MODHOST_TEST_SECRET=text suite-program BUILD PARENT\n');
  process.exit(2);
}
// what the suite lays out stands for files that were installed before, whatever umask a unit sets
process.umask(0o022);
process.stdout.write(`${JSON.stringify(await runEscapeSuite({ secret, build, parent }))}\n`);
