import { join } from 'node:path';
import type { GuaranteeName } from '../contract/guarantee.js';
import type { SandboxEngine, StartGate } from './engine.js';
import { gatedProgram, LAUNCH_WORD, launchWord } from './gate.js';
import { type Guarantee, guarantees } from './guarantee.js';
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
  /** Directory of the host; what a killed host left of a chain is found by it. */
  readonly runDir?: string;
}

/** Descriptors of the start gate. */
const GATE: StartGate = { readyFd: 3, goFd: 4 };

/**
 * Confines nothing: the module sees the machine as its user does. It is the last rung where nothing else works, and runs
 * only modules whose operator wrote a `sandbox.minimum` that it meets; what little the kernel does for every process it still asks.
 */
export function createUnconfinedEngine({ hasTools, ownUsers, inherited, runDir }: UnconfinedOptions): SandboxEngine {
  return {
    name: 'none',
    view: (directories) => directories,
    async prepare(spec) {
      await assertUsable(spec.directories, spec.identity);
      const { program, directories } = spec;
      const word = runDir === undefined ? LAUNCH_WORD : launchWord(runDir);
      const gated = gatedProgram({
        gate: GATE,
        word,
        processes: undefined,
        env: ['env', '-i', '-u', word, ...Object.entries(spec.env).map(([name, value]) => `${name}=${value}`)],
        program: program.from === 'module' ? join(directories.code, program.path) : program.path,
        args: spec.args,
      });
      const chain = hasTools
        ? launchChain(
            {
              ...spec,
              network: false,
              stage: [],
              deathSignal: true,
              hostPid: process.pid,
              inherited: inherited().filter((fd) => fd > GATE.goFd),
              word,
            },
            gated,
          )
        : gated;
      const [file = '', ...args] = chain;
      return {
        file,
        args,
        env: { PATH: SYSTEM_PATH },
        cwd: directories.code,
        inputs: new Map(),
        nested: false,
        gate: GATE,
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
  return guarantees(known, 'there is no sandbox on this machine');
}
