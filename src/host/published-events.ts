/**
 * The events that the host publishes, by type, and from what it knows each. What is not here has no publisher in this
 * host but modules. The README's table is made from this list, and a test holds it to what the code does.
 */
export const PUBLISHED_BY_HOST: Readonly<Record<string, string>> = {
  NEW_BLOCK: 'the node connected a block to the active chain',
  NEW_TRANSACTION: 'the node accepted a transaction into its mempool',
  BLOCK_DISCONNECTED: 'the node rolled the tip back',
  CHAIN_REORG: 'the node finished a switch to another branch',
  BLOCK_MINED: 'the node accepted a block that a module submitted',
  BLOCK_TEMPLATE_UPDATED: 'the node made a new template while a module watches templates',
  MINING_DIFFICULTY_CHANGED:
    'the target that the node tells for the next block, or the first block that meets another target',
  MODULE_LOADED: 'a module called Ready',
  MODULE_UNLOADED: 'a module that was Ready was stopped, replaced or crashed',
  MODULE_RELOADED: 'the host ended a reload',
  MODULE_STARTED: "the host started a module's process, or accepted an external module's handshake",
  MODULE_STOPPED: "a module's process ended as the host asked, or by itself with code 0 after Ready",
  MODULE_CRASHED: "a module's process ended otherwise, or was killed for what it did",
  MODULE_HEALTH_CHANGED: "the host's health checks, and what the module says of itself",
  MODULE_STATE_CHANGED: "the host's own steps with a module",
  RESOURCE_LIMIT_WARNING: "the watch over a module's use of memory, processor, processes, disk and open files",
  MODULE_DISCOVERED: 'the host found a manifest',
  CONFIG_LOADED: 'the host read its configuration',
  NODE_STARTUP_COMPLETED: 'the host is up and has reached its node',
  NODE_SHUTDOWN: 'the host is about to stop',
  NODE_SHUTDOWN_COMPLETED: 'the host has stopped its parts; only programs in its process hear it',
  PEER_CONNECTED: 'the list of peers that the node gives',
  PEER_DISCONNECTED: 'the list of peers that the node gives; the reason is unknown',
  PEER_BANNED: 'the ban list that the node gives, or a ban by a module',
  PEER_UNBANNED: 'the ban list that the node gives',
  DIFFICULTY_ADJUSTED: 'the headers before and after a retarget; not on networks with the minimum-difficulty rule',
  SOFT_FORK_ACTIVATED: 'the deployments that the node reports, compared from block to block',
  SOFT_FORK_LOCKED_IN: 'the deployments that the node reports, compared from block to block',
  HEADERS_SYNC_STARTED: "the node's synchronisation entered the download of headers",
  HEADERS_SYNC_PROGRESS: "the node's own figures while it downloads headers",
  HEADERS_SYNC_COMPLETED: "the node's synchronisation left the download of headers for the next phase",
  BLOCK_SYNC_STARTED: "the node's synchronisation entered the download of blocks",
  BLOCK_SYNC_PROGRESS: "the node's own figures while it downloads blocks; in a cursor walk the headers themselves",
  BLOCK_SYNC_COMPLETED: "the node's synchronisation reached the tip",
  SYNC_STATE_CHANGED: 'the phase that the node tells, or a connection to the node that was lost',
  MEMPOOL_TRANSACTION_ADDED: 'the node accepted a transaction into its mempool',
  MEMPOOL_TRANSACTION_REMOVED: 'the node dropped a transaction from its mempool; the reason where the node tells it',
  FEE_RATE_CHANGED: 'the minimum or estimated fee rate that the node gives',
  MEMPOOL_CLEARED: 'the node told that its mempool is empty at once',
  DATA_MAINTENANCE: 'the turn of the upkeep every 6 hours, a disk that became low, or the stop of the host',
  MAINTENANCE_STARTED: 'the host begins to give back the room of what modules have deleted from their storage',
  MAINTENANCE_COMPLETED: 'the host has ended that job',
  HEALTH_CHECK: 'what the node tells of itself when the host asks, 10 s after its start and every minute',
  DISK_SPACE_LOW: 'the file systems of the data and socket directories, looked at every 10 s',
};

/** The adapters of this package, in the order of the README's columns. */
export const NODE_COLUMNS = ['devchain', 'bitcoind', 'btcd'] as const;

/**
 * Events of the table above that not every adapter brings about, and those that do. A devchain has no peers, no download
 * of blocks, no fee estimates and one target for ever; btcd has no ban list by RPC. What is not here comes with each.
 */
export const TOLD_ONLY_BY: Readonly<Record<string, readonly (typeof NODE_COLUMNS)[number][]>> = {
  MINING_DIFFICULTY_CHANGED: ['bitcoind', 'btcd'],
  PEER_CONNECTED: ['bitcoind', 'btcd'],
  PEER_DISCONNECTED: ['bitcoind', 'btcd'],
  PEER_BANNED: ['bitcoind'],
  PEER_UNBANNED: ['bitcoind'],
  DIFFICULTY_ADJUSTED: ['bitcoind', 'btcd'],
  SOFT_FORK_ACTIVATED: ['bitcoind', 'btcd'],
  SOFT_FORK_LOCKED_IN: ['bitcoind', 'btcd'],
  HEADERS_SYNC_STARTED: ['bitcoind', 'btcd'],
  HEADERS_SYNC_PROGRESS: ['bitcoind', 'btcd'],
  HEADERS_SYNC_COMPLETED: ['bitcoind', 'btcd'],
  BLOCK_SYNC_STARTED: ['bitcoind', 'btcd'],
  BLOCK_SYNC_COMPLETED: ['bitcoind', 'btcd'],
  SYNC_STATE_CHANGED: ['bitcoind', 'btcd'],
  FEE_RATE_CHANGED: ['bitcoind', 'btcd'],
  MEMPOOL_CLEARED: ['bitcoind', 'btcd'],
};
