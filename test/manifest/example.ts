/** The founding document's example as it stands, with real keys, signatures and hash in the places of its dots. */
export const FOUNDING_EXAMPLE = `# Module Identity
name = "lightning-network"
version = "1.2.3"
description = "Lightning Network implementation"
author = "Alice <alice@example.com>"

# Governance
[governance]
tier = "application"
maintainers = ["alice", "bob", "charlie"]
threshold = "2-of-3"
review_period_days = 14

# Signatures
[signatures]
maintainers = [
  { name = "alice", key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", signature = "${'1f'.repeat(64)}" },
  { name = "bob", key = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5", signature = "${'2e'.repeat(64)}" }
]
threshold = "2-of-3"

# Binary
[binary]
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
size = 1234567
download_url = "https://registry.bitcoincommons.org/modules/lightning-network/1.2.3"

# Dependencies
[dependencies]
"blvm-node" = ">=1.0.0"
"another-module" = ">=0.5.0"

# Compatibility
[compatibility]
min_consensus_version = "1.0.0"
min_protocol_version = "1.0.0"
min_node_version = "1.0.0"
tested_with = ["1.0.0", "1.1.0"]

# Capabilities
capabilities = [
  "read_blockchain",
  "subscribe_events"
]
`;

/** Every table of the grammar, once. */
export const FULL_EXAMPLE = `manifest_version = 1
name = "watch-tower"
version = "0.4.0-rc.1+build.7"
license = "MIT"
homepage = "https://example.org"
capabilities = ["read_blockchain", "ReadUTXO", "read_blockchain"]
rpc_overrides = ["getblocktemplate"]
x-note = { ours = [1, "two"] }

[run]
command = ["python", "main.py", "--quiet"]
env = { LANG = "C.UTF-8" }

[optional_dependencies]
"fee-watcher" = "^1.2.0 || ^2.0.0"

[[binary.artifacts]]
platform = "linux-x64"
kind = "bundle"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
size = 9007199254740991
download_url = "http://127.0.0.1:8080/w.tar.gz"

[limits]
memory_mb = 256
stop_timeout_ms = 5000

[network]
outbound = ["api.example.org:443", "[2001:db8::1]:9735"]
inbound = [3333]
udp = true

[events]
subscribe = ["NewBlock"]
publish = ["PaymentSettled"]
topics = ["watch-tower.alarm"]

[api]
methods = ["Watch", "Stop"]
version = "1.0.0"
allowed_callers = ["fee-watcher"]

[config]
interval = { type = "duration", default = "90s", min = 1000 }
payout = { type = "address", required = true }
password = { type = "string", secret = true, min = 8 }
mode = { type = "string", enum = ["fast", "slow"], default = "slow" }
seeds = { type = "bytes[]", default = ["00FF"] }

[config_schema]
label = "free text of the ancestor"

[health]
mode = "ping"

[restart]
policy = "never"

[update]
mode = "handover"
state = "no-rollback"

[storage]
schema_version = 3
`;
