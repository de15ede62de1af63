/** The operator's file with every key and its default, as `modhost config example` prints it. */
export const SAMPLE_CONFIG = `# modhost.toml: what the operator decides. Every key may be left out; the values here are the defaults,
# lines that begin with "#" are examples. Unknown keys are refused. Relative paths start at this file.
# Flags stand over environment variables, those over this file.

[node]
kind = "devchain"                # "devchain" (embedded, SIMULATED), "bitcoind" or "btcd"
block_interval_ms = 0            # a block by the clock; 0 = on demand: modhost devchain mine 1
transactions_per_block = 0       # the chain's own signed transactions in front of each such block
persist = true                   # keep the chain in the data directory
# premine_blocks = 120           # blocks made at the first start
# min_relay_sat_per_kvb = 1000

# Bitcoin Core; "modhost connect bitcoind" finds it and prints these lines and those that its bitcoin.conf lacks.
# [node]
# kind = "bitcoind"
# network = "main"               # the node must be on it: main, test, testnet4, signet, regtest
# url = "http://127.0.0.1:8332"
# user = "modhost"               # with password; without both the cookie is read
# password = "..."               # then: chmod 600 modhost.toml. Or the environment: MODHOST_NODE_PASSWORD
# cookie_file = "/var/lib/bitcoind/.cookie"
# data_dir = "/var/lib/bitcoind" # the node's own, for its cookie
# zmq = "auto"                   # addresses that the node tells; or false; or { sequence = "tcp://127.0.0.1:28332" }
# rest = true                    # read blocks by REST where the node serves it
# long_poll = true               # without ZMQ: one call waits at the node for the next block
# max_calls_in_flight = 2        # the node's workers are shared with your other software
# poll_ms = 5000

# btcd; "modhost connect btcd" finds it.
# [node]
# kind = "btcd"
# network = "main"
# url = "https://127.0.0.1:8334"
# user = "..."
# password = "..."
# tls = true
# tls_ca = "/home/btcd/.btcd/rpc.cert"
# websocket = true
# max_calls_in_flight = 2
# poll_ms = 5000

[paths]
# modules = "modules"            # each directory below with a module.toml is a module
# data = "/var/lib/modhost"      # one directory per network is made below
# sockets = "/run/modhost/main"  # keep it short: socket paths are limited to 103 bytes

[sandbox]
# "full", "confined", "limited" (without namespaces, as in most containers), "none" (at your own risk), or a list such as
# ["filesystem", "network", "memory:watched"]; "modhost doctor" tells what this machine gives.
minimum = "confined"

# Caps: a module gets what its manifest asks, or the default, but never more than this.
[limits]
# memory_mb = 512
# cpu_percent = 50               # of one core; 200 = two cores
# pids = 128
# open_files = 256
# data_mb = 512
# start_timeout_ms = 60000
# stop_timeout_ms = 10000

[network]
# proxy = "127.0.0.1:9050"       # a SOCKS5 server, Tor's for example, carries all that modules send
# onlynet = "onion"              # nothing but onion services

# JSON-RPC over HTTP for bitcoin-cli's kin: methods of the host, of its modules and, where named, of the node; with
# /metrics, /healthz and /readyz. "modhost status" tells where it stands.
[rpc]
enabled = true
address = "127.0.0.1"            # or "::1"; other machines never reach it
port = 8338                      # 0: any free one
metrics_auth = false             # true: /metrics, /healthz and /readyz need the password as well
# passthrough = ["getblockchaininfo", "getblock"]  # handed on to the node as they are, each by its name; none by default
# cookie_file = "/var/lib/modhost/main/.cookie"    # user and password of each run
# rpcauth = []                   # further users as bitcoind has them: "alice:salt$hmac"

[calls]
per_second = 1000                # of each module, by weight
# node_in_flight = 2             # of all modules together, to the node

# Programs behind the words of [run] command in a manifest.
[interpreters]
python = "/usr/bin/python3"
# node = "/usr/bin/node"         # by default the one that runs the host
# java = "/usr/bin/java"

# Which module answers a service for all others; without a word the node does, where it has it.
[providers]
# lightning = "lightning-node"
# payment = "pay-server"
# governance = "proposals"

[log]
level = "info"                   # trace, debug, info, warn, error
format = "auto"                  # "pretty" on a terminal, else "json"
# dir = "/var/log/modhost"       # log and audit of each module in files of bounded size, 64 MiB a module at most

# One table per module, by the name in its manifest.
[modules.block-watch]
enabled = true                   # false: loaded by "modhost load" alone
run = "spawn"                    # "external": somebody else starts it, the host serves socket and token
unsigned = false                 # true: run it although nobody has vouched for its files
# path = "/opt/block-watch"      # by default its directory below [paths] modules
# grants = ["read_blockchain"]   # out of what its manifest asks for; by default all of it
# limits = { memory_mb = 256 }   # instead of what its manifest asks for, over the caps
# config = { depth = 6 }         # values for the manifest's [config]; "modhost config apply" changes them while it runs
# secrets = { password = { file = "password.txt" }, token = { env = "TOKEN" } }  # chmod 600; for keys that are secret
# extra_read_only = ["/etc/ssl/certs"]
# network = { outbound = ["pool.example:3333"], inbound = [3333] }  # or true: all that its manifest asks for
# allowed_callers = ["pay-server"]  # modules that may call it; by default those that it and its manifest allow
`;
