import { join } from 'node:path';
import type { SandboxEngine } from './engine.js';
import { type Guarantee, type GuaranteeName, guarantees } from './guarantee.js';
import { launchChain, SYSTEM_PATH } from './launch-chain.js';
import { assertUsable } from './ownership.js';

/** What the engine needs to know of the machine. */
export interface UnconfinedOptions {
  /** True when prlimit and setpriv are there: rlimits, users and the death signal work without any sandbox. */
  readonly hasTools: boolean;
  /** True when every spec comes with an identity. */
  readonly ownUsers: boolean;
  /** Descriptors of the host that a child would inherit, asked before each start. */
  readonly inherited: () => readonly number[];
}

/**
 * Confines nothing: the module sees the machine as its user does. It is used only where the operator wrote
 * `sandbox.minimum = "none"` and bubblewrap does not work; what little the kernel does for every process it still asks.
 */
export function createUnconfinedEngine({ hasTools, ownUsers, inherited }: UnconfinedOptions): SandboxEngine {
  return {
    name: 'none',
    view: (directories) => directories,
    async prepare(spec) {
      await assertUsable(spec.directories, spec.identity);
      const { program, directories } = spec;
      const path = program.from === 'module' ? join(directories.code, program.path) : program.path;
      const command = [
        'env',
        '-i',
        ...Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
        path,
        ...spec.args,
      ];
      const { limits, identity } = spec;
      const chain = hasTools
        ? launchChain({ limits, identity, hostPid: process.pid, inherited: inherited() }, command)
        : command;
      const [file = '', ...args] = chain;
      return {
        file,
        args,
        env: { PATH: SYSTEM_PATH },
        cwd: directories.code,
        inputs: new Map(),
        statusFd: undefined,
        launchers: [],
        gate: undefined,
      };
    },
    containment: () => containment(hasTools, ownUsers),
  };
}

function containment(hasTools: boolean, ownUsers: boolean): Guarantee[] {
  const known = new Map<GuaranteeName, Omit<Guarantee, 'name'>>();
  if (hasTools) {
    known.set('open_files', { state: 'enforced', by: 'RLIMIT_NOFILE of each process', verified: false });
    if (ownUsers) {
      known.set('user', { state: 'enforced', by: 'a user id of its own', verified: false });
      known.set('pids', { state: 'enforced', by: "RLIMIT_NPROC of the module's user", verified: false });
    }
  }
  return guarantees(known, 'no sandbox: the operator allowed sandbox.minimum = "none"');
}
