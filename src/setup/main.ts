/**
 * `npm run setup`: everything between `npm ci` and `npm start`. It runs from the sources, before anything is built.
 *
 * Exit codes: 0 ready (optional parts may have been skipped, each named with its reason); 1 a build failed;
 * 2 wrong usage or a Node that is too old; 3 a required system package is missing, the rest was done.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { goExample } from './go-example.js';
import { installPackages } from './packages.js';
import { OLDEST_NODE } from './pins.js';
import { product } from './product.js';
import { pythonExample } from './python-example.js';
import { type Outcome, perform, type Step } from './step.js';
import { stratumModule } from './stratum-module.js';
import { createTerminal, seconds, type Terminal } from './terminal.js';
import { testTools } from './test-tools.js';
import { typescriptExample } from './typescript-example.js';

const USAGE = `usage: npm run setup -- [--yes] [--modules] [--ci]

Installs the system packages that are missing, builds modhost and those examples whose toolchain is here.

  --yes   install missing packages without asking (bubblewrap and util-linux; python3-venv and golang-go
          with the languages they bring, so that the examples in Python and Go can be built)
  --modules
          also build the modules of modules/: Stratum V2, ten minutes where Rust is here (default when CI=true)
  --ci    also prepare what the tests need: btcd, Bitcoin Core's engine, a C compiler
          (default when CI=true)
  --help  print this

exit codes: 0 ready, 1 a build failed, 2 wrong usage or Node too old, 3 a required system package is missing`;

/** What the words after `npm run setup --` ask for. */
interface SetupOptions {
  yes: boolean;
  modules: boolean;
  ci: boolean;
  help: boolean;
}

function readOptions(args: readonly string[], terminal: Terminal): SetupOptions | undefined {
  try {
    const flag = { type: 'boolean' } as const;
    const { values } = parseArgs({ args: [...args], options: { yes: flag, modules: flag, ci: flag, help: flag } });
    const ci = values.ci ?? process.env.CI === 'true';
    return { yes: values.yes ?? false, modules: values.modules ?? ci, ci, help: values.help ?? false };
  } catch (error) {
    terminal.say(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return undefined;
  }
}

function nodeIsTooOld(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
}

/** Does the whole of setup and answers its exit code. */
async function setup(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = readOptions(args, terminal);
  if (options === undefined) return 2;
  if (options.help) {
    terminal.say(USAGE);
    return 0;
  }
  if (nodeIsTooOld()) {
    terminal.say(`modhost needs Node ${OLDEST_NODE.join('.')} or newer, and this is ${process.versions.node}`);
    return 2;
  }
  const started = performance.now();
  const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
  terminal.say('setting up modhost');
  const { missing } = await installPackages(options.yes, terminal);

  const outcomes: Outcome[] = [];
  // Made when their turn comes: the compiled product and the packages above are inputs of what follows.
  const steps: (() => Step | Promise<Step>)[] = [
    () => product(root),
    () => typescriptExample(root),
    () => pythonExample(root),
    () => goExample(root),
    ...(options.modules ? [() => stratumModule(root)] : []),
    ...(options.ci ? testTools(root).map((step) => () => step) : []),
  ];
  for (const step of steps) outcomes.push(await perform(await step(), terminal));

  const took = seconds(performance.now() - started);
  if (outcomes.includes('failed')) {
    terminal.say(`not ready after ${took}: see what failed above`);
    return 1;
  }
  const required = missing.filter((wanted) => wanted.required).map(({ name }) => name);
  if (required.length > 0) {
    terminal.say(`built in ${took}, but modules cannot be confined without: ${required.join(', ')}`);
    return 3;
  }
  terminal.say(`ready after ${took}: npm start`);
  return 0;
}

// Modules run as users of their own: what is built here has to be readable for them.
process.umask(0o022);
process.exitCode = await setup(process.argv.slice(2), createTerminal(process.stdin, process.stdout));
