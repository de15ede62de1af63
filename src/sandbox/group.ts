import type { ResourceLimits } from './limits.js';

/** What a control group has counted for all processes of one module, whatever of it the kernel gives. */
export interface GroupUsage {
  /** Memory that the group is charged with, bytes, page cache included; undefined without a memory controller. */
  readonly chargedBytes: number | undefined;
  /** Processor time since the group was made, milliseconds; undefined without a CPU accounting controller. */
  readonly cpuMs: number | undefined;
  /** Processes and threads; undefined without a pids controller. */
  readonly pids: number | undefined;
  /** Processes that the kernel killed because the group's memory was spent; undefined without a memory controller. */
  readonly oomKills: number | undefined;
  /** Forks and threads that the kernel refused because the group had its number of them; undefined when not counted. */
  readonly pidsRefused: number | undefined;
}

/** Which resource limits a group enforces, and by what, for example `cgroup v1`. An absent one is not enforced. */
export interface GroupPowers {
  readonly memory: string | undefined;
  readonly cpu: string | undefined;
  readonly pids: string | undefined;
  /** Every process of the group can be found, and killed, without any help of the processes. */
  readonly kill: string | undefined;
}

/**
 * The control group of one spawn, made by the host and kept by it beyond the death of the processes, so that the cause
 * of their end can be read afterwards. A process joins it by writing `0` to each of `joinFiles`.
 */
export interface ResourceGroup {
  readonly joinFiles: readonly string[];
  /** Processes in the group now, by their numbers on the host. */
  members(): number[];
  usage(): GroupUsage;
  /** Bounds its processor time, percent of one core; undefined = no bound, as it is until Ready. */
  setCpuPercent(percent: number | undefined): void;
  /** Kills every process in it; those that are just being forked too. */
  kill(): void;
  /** Kills what is left and removes the group; retries while the kernel says busy. Never throws. */
  remove(): Promise<void>;
}

/** Makes the control groups of one host. Groups of other hosts, and everything above its own, it never touches. */
export interface ResourceGroups {
  readonly powers: GroupPowers;
  /** Makes the group of one spawn with memory and pids bounded, and CPU not. Existing leftovers of that name are removed. */
  create(instanceId: string, limits: ResourceLimits): Promise<ResourceGroup>;
  /** Kills and removes what a host with the same name, killed before, has left; answers how many processes it killed. */
  sweep(): Promise<number>;
  /** Removes the host's own directories once no spawn is left. */
  close(): Promise<void>;
}
