import type { Guarantee } from './guarantee.js';
import type { ResourceLimits } from './limits.js';

/** The three directories of one spawn. */
export interface ModuleDirectories {
  /** The module's program, read-only to it. */
  readonly code: string;
  /** Its own files, writable. */
  readonly data: string;
  /** This spawn's socket and token, read-only to it; connecting works nonetheless. */
  readonly socket: string;
}

/** Operating system user of one module. */
export interface ModuleIdentity {
  readonly uid: number;
  readonly gid: number;
}

/** What is executed: a file of the module, or an interpreter of the host's machine. */
export type Program =
  | { readonly from: 'module' /** Path inside the code directory. */; readonly path: string }
  | { readonly from: 'host' /** Absolute path on the host. */; readonly path: string };

/** Which limits a control group holds. */
export interface Bounded {
  readonly memory: boolean;
  readonly pids: boolean;
}

/** One process to confine. All paths are the host's, absolute and without links. */
export interface ConfineSpec {
  /** The module's name, for messages. */
  readonly name: string;
  readonly directories: ModuleDirectories;
  readonly program: Program;
  readonly args: readonly string[];
  /** The whole environment of the process, in the paths of `view`; nothing else is added but PWD. */
  readonly env: Readonly<Record<string, string>>;
  readonly limits: ResourceLimits;
  /** User that the process runs as; undefined = the host's own. */
  readonly identity: ModuleIdentity | undefined;
  /** More of the host's files and directories that the module may read, under their own paths. */
  readonly extraReadOnly: readonly string[];
  /** Files of control groups to which the chain writes `0` before anything else runs; empty = no control group. */
  readonly joinFiles: readonly string[];
  /** What the control group bounds for all processes together; of the rest the chain bounds what each process can be. */
  readonly bounded: Bounded;
  /** Network that the module gets; undefined = none at all. */
  readonly network: SandboxNetwork | undefined;
}

/**
 * A network namespace that holds nothing but the loopback device, on which every address is local and every port may be
 * bound. Nothing leaves it: the host opens listeners in it and decides for each connection.
 */
export interface SandboxNetwork {
  /** Lines for `/etc/hosts` inside, besides `localhost`. */
  readonly hosts: readonly { readonly address: string; readonly name: string }[];
}

/** Descriptors of the start gate: the module's program does not run before the host has said go. */
export interface StartGate {
  /** The chain writes one byte here when everything around the program stands. */
  readonly readyFd: number;
  /** The host writes a line here to let the program run; end of file = it never runs. */
  readonly goFd: number;
}

/** What to spawn so that the process runs confined. It holds no resources: an unused one needs no clean-up. */
export interface ConfinedCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** Environment of the first program of the chain. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Bytes to write to descriptors of the child, each closed after its last byte. */
  readonly inputs: ReadonlyMap<number, Uint8Array>;
  /**
   * True when the program is the child of the child of the spawned process, which tells a signal that ended it as 128 +
   * its number. False = the spawned process itself becomes the program.
   */
  readonly nested: boolean;
  /** Undefined = no gate: the program runs as soon as the chain does. */
  readonly gate: StartGate | undefined;
}

/**
 * Confines processes. It starts none, keeps no state of a spawn, and must not promise more than it does: what
 * `containment` calls enforced is refused by the kernel, not by good manners.
 */
export interface SandboxEngine {
  /** `bubblewrap` or `none`. */
  readonly name: string;
  /** Where the module sees its directories; what is put into its environment must use these paths. */
  view(directories: ModuleDirectories): ModuleDirectories;
  /**
   * Makes the command for one process.
   *
   * @throws HostError START_FAILED when a path is not there or not reachable for the module's user, SANDBOX_UNAVAILABLE
   */
  prepare(spec: ConfineSpec): Promise<ConfinedCommand>;
  /** What holds for every process of this engine, one entry per promise. */
  containment(): Guarantee[];
}
