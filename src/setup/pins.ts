/**
 * Versions of the tools that setup fetches to build the example modules. The example's own dependencies are pinned
 * where its language pins them: `requirements.txt`, `go.mod` with `go.sum`.
 */

/** Generator of the Python stubs; the runtime in `requirements.txt` has to be of the same release. */
export const GRPCIO_TOOLS_VERSION = '1.85.1';

/** Generator of the Go messages; the newest that Debian 12's Go 1.19 can build. */
export const PROTOC_GEN_GO_VERSION = 'v1.33.0';

/** Generator of the Go stubs; 1.3 is the last whose code fits a grpc-go that Go 1.19 can build. */
export const PROTOC_GEN_GO_GRPC_VERSION = 'v1.3.0';

/** Oldest Go that builds the example, as major and minor number: what Debian 12 ships. */
export const OLDEST_GO = [1, 19] as const;

/** Oldest Rust that builds the Stratum V2 module, as `rust-version` in its Cargo.toml says. */
export const OLDEST_RUST = [1, 88] as const;

/** Oldest Node that runs the host, as `engines` in package.json says. */
export const OLDEST_NODE = [20, 19] as const;
