import type { Permission } from '../contract/permission.js';
import type { VersionRange } from '../core/version-range.js';
import type { ConfigField } from './config-schema.js';
import type { Threshold } from './rules.js';

/** One maintainer's signature, checked for form only. */
export interface Signer {
  readonly name: string;
  /** Compressed secp256k1 key, 66 lower-case hex digits. */
  readonly key: string;
  /** BIP-340 signature, 128 lower-case hex digits. */
  readonly signature: string;
}

/** The bytes of one platform. */
export interface Artifact {
  /** `linux-x64`, `linux-arm64`, …; empty = any platform (the hash directly under `[binary]`). */
  readonly platform: string;
  readonly kind: 'file' | 'bundle';
  /** `sha256:` and 64 lower-case hex digits. */
  readonly hash: string;
  /** Bytes. */
  readonly size: number;
  /** Where to fetch it; undefined where it is delivered by hand. */
  readonly downloadUrl: string | undefined;
}

/** Resources that a manifest asks for; what is absent gets the default, what is too much the operator's cap. */
export interface AskedLimits {
  readonly memoryMb?: number;
  readonly cpuPercent?: number;
  readonly pids?: number;
  readonly openFiles?: number;
  readonly dataMb?: number;
  readonly startTimeoutMs?: number;
  readonly stopTimeoutMs?: number;
}

/** One module as its author describes it: module.toml, parsed and checked, defaults filled in. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  /** Texts for people; empty when absent. Escape them before they reach a terminal. */
  readonly description: string;
  readonly author: string;
  readonly license: string;
  readonly homepage: string;
  /** Path inside the module's directory. */
  readonly entryPoint: string;
  /** What the module asks for, without duplicates, in the order written. */
  readonly capabilities: readonly Permission[];
  readonly rpcOverrides: readonly string[];
  readonly run: {
    /** Interpreter's name and arguments; undefined = `entryPoint` is executed. */
    readonly command: readonly string[] | undefined;
    readonly env: ReadonlyMap<string, string>;
  };
  readonly dependencies: ReadonlyMap<string, VersionRange>;
  readonly optionalDependencies: ReadonlyMap<string, VersionRange>;
  readonly compatibility: {
    readonly minConsensusVersion: string | undefined;
    readonly minProtocolVersion: string | undefined;
    readonly minNodeVersion: string | undefined;
    readonly testedWith: readonly string[];
  };
  readonly governance:
    | {
        readonly tier: string;
        readonly maintainers: readonly string[];
        readonly threshold: Threshold;
        readonly reviewPeriodDays: number;
      }
    | undefined;
  readonly signatures: { readonly signers: readonly Signer[]; readonly threshold: Threshold } | undefined;
  /** What may run, one entry per platform; empty = the manifest names no bytes. */
  readonly artifacts: readonly Artifact[];
  readonly limits: AskedLimits;
  readonly network: {
    readonly outbound: readonly string[];
    readonly outboundAny: boolean;
    readonly inbound: readonly number[];
    readonly udp: boolean;
  };
  readonly events: {
    readonly subscribe: readonly string[];
    readonly publish: readonly string[];
    readonly topics: readonly string[];
  };
  readonly api: {
    readonly methods: readonly string[];
    readonly version: string | undefined;
    readonly allowedCallers: readonly string[];
  };
  readonly config: ReadonlyMap<string, ConfigField>;
  readonly health: { readonly mode: 'invocation' | 'ping'; readonly intervalMs: number; readonly timeoutMs: number };
  readonly restart: {
    readonly policy: 'on-failure' | 'always' | 'never';
    readonly maxCrashes: number;
    readonly windowS: number;
  };
  readonly update: { readonly mode: 'restart' | 'handover'; readonly state: 'rollback' | 'no-rollback' };
  readonly storage: { readonly schemaVersion: number; readonly quotaMb: number | undefined };
  /** The signed document as it was written, `x-` keys included; plain TOML values, integers as bigint. */
  readonly document: Readonly<Record<string, unknown>>;
}
