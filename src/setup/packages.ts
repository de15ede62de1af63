import { findProgram, run } from './command.js';
import { findGo } from './go-example.js';
import { indent, watched } from './step.js';
import type { Terminal } from './terminal.js';

/** Seconds that apt waits for another apt to finish. */
const APT_LOCK_SECONDS = 120;
/** Python that modules run with: the sandbox shows them `/usr` and nothing of a person's own installation. */
export const MODULE_PYTHON = '/usr/bin/python3';

/** One system package that setup may install. */
export interface SystemPackage {
  /** Name in Debian and Ubuntu. */
  name: string;
  /** What it is for, as people read it. */
  why: string;
  /** True when the host cannot run modules without it; false when only an example needs it. */
  required: boolean;
  /** Whether what it brings is here, from whatever source. */
  isHere(): Promise<boolean>;
}

/** Every system package that the host and its examples use. */
export const SYSTEM_PACKAGES: readonly SystemPackage[] = [
  {
    name: 'bubblewrap',
    why: 'the sandbox around every module (bwrap)',
    required: true,
    isHere: async () => findProgram('bwrap') !== undefined,
  },
  {
    name: 'util-linux',
    why: 'gives a module its own user, its limits and its view of the files (setpriv, prlimit, unshare, nsenter)',
    required: true,
    isHere: async () => ['setpriv', 'prlimit', 'unshare', 'nsenter'].every((name) => findProgram(name) !== undefined),
  },
  {
    name: 'iproute2',
    // most modules get no network: a host of such modules runs without it
    why: 'sets up the network of modules that are granted one (ip)',
    required: false,
    isHere: async () => findProgram('ip') !== undefined,
  },
  {
    name: 'python3',
    why: 'runs the Python example',
    required: false,
    isHere: async () => (await run(MODULE_PYTHON, ['--version'])).ok,
  },
  {
    name: 'python3-venv',
    why: 'fetches gRPC for the Python example into the folder of the example',
    required: false,
    isHere: async () => (await run(MODULE_PYTHON, ['-c', 'import venv, ensurepip'])).ok,
  },
  {
    name: 'golang-go',
    why: 'compiles the Go example',
    required: false,
    isHere: async () => (await findGo()) !== undefined,
  },
];

/** What is left to be installed by hand. */
export interface PackageReport {
  missing: readonly SystemPackage[];
}

/**
 * Names every missing package and why it is wanted, and installs them all when told to: by `yes`, or by a person's
 * typed yes. Without apt, or without the right to use it, it prints what is needed and goes on.
 */
export async function installPackages(yes: boolean, terminal: Terminal): Promise<PackageReport> {
  const missing = await missingPackages();
  if (missing.length === 0) {
    terminal.say('  system packages: all here');
    return { missing };
  }
  terminal.say('  system packages that are not here:');
  for (const { name, why, required } of missing) {
    terminal.say(`    ${name.padEnd(14)} ${required ? 'required' : 'optional'}: ${why}`);
  }
  const apt = aptCommand();
  if (apt === undefined) {
    terminal.say('    no apt-get that may be used here (root or sudo); please install these, then run setup again');
    return { missing };
  }
  if (!yes && !(await terminal.agree('    Install them with apt-get?'))) {
    terminal.say(`    not installed; \`npm run setup -- --yes\` does, or: ${installLine(missing)}`);
    return { missing };
  }
  await install(apt, missing, terminal);
  return { missing: await missingPackages() };
}

async function missingPackages(): Promise<SystemPackage[]> {
  const here = await Promise.all(SYSTEM_PACKAGES.map((wanted) => wanted.isHere()));
  return SYSTEM_PACKAGES.filter((_, index) => here[index] === false);
}

async function install(apt: readonly string[], missing: readonly SystemPackage[], terminal: Terminal): Promise<void> {
  const [program = 'apt-get', ...before] = apt;
  const lock = ['-o', `DPkg::Lock::Timeout=${APT_LOCK_SECONDS}`];
  const names = missing.map(({ name }) => name);
  const result = await watched('apt-get', `installing ${names.join(' ')}`, terminal, async () => {
    // A stale or empty list is the usual reason why apt finds no package; a failed refresh need not stop the install.
    await run(program, [...before, ...lock, 'update', '-q']);
    return run(program, [...before, ...lock, 'install', '-y', '-q', '--no-install-recommends', ...names]);
  });
  terminal.say(
    result.ok ? `    installed: ${names.join(' ')}` : `    apt-get could not install:\n${indent(result.tail)}`,
  );
}

function installLine(missing: readonly SystemPackage[]): string {
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  return `${sudo}apt-get install --no-install-recommends ${missing.map(({ name }) => name).join(' ')}`;
}

/** The words that start apt-get with the right to install, or undefined. */
function aptCommand(): string[] | undefined {
  const apt = findProgram('apt-get', ['/usr/bin']);
  if (apt === undefined) return undefined;
  const quiet = ['env', 'DEBIAN_FRONTEND=noninteractive', apt];
  if (process.getuid?.() === 0) return quiet;
  const sudo = findProgram('sudo');
  return sudo === undefined ? undefined : [sudo, ...quiet];
}
