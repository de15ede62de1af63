/**
 * JSON-RPC methods of the nodes that a host can stand on, so that no module takes one of their names and no front door
 * hands on what moves money by accident. Sources: the RPC tables of Bitcoin Core 29 (`src/rpc/*.cpp`, `src/wallet/rpc/*.cpp`,
 * hidden ones included, and what older versions have had) and of btcd 0.26 (`rpcserver.go`, `rpcwebsocket.go`, with the
 * wallet methods that it names as another program's).
 */

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** Reads of chain, mempool, network and mining, and plain arithmetic: they change nothing at the node. */
const READING = words(`
  analyzepsbt combinepsbt combinerawtransaction converttopsbt createmultisig createpsbt createrawtransaction
  createwitnessaddress decodepsbt decoderawtransaction decodescript deriveaddresses estimatefee estimatepriority
  estimaterawfee estimatesmartfee estimatesmartpriority finalizepsbt getaddednodeinfo getaddrmaninfo getbestblock
  getbestblockhash getblock getblockchaininfo getblockcount getblockfilter getblockhash getblockheader getblockstats
  getblocktemplate getcfilter getcfilterheader getchainstates getchaintips getchaintxstats getconnectioncount
  getcurrentnet getdeploymentinfo getdescriptoractivity getdescriptorinfo getdifficulty getgenerate gethashespersec
  getheaders getindexinfo getinfo getmemoryinfo getmempoolancestors getmempooldescendants getmempoolentry getmempoolinfo
  getmininginfo getnettotals getnetworkhashps getnetworkinfo getnodeaddresses getorphantxs getpeerinfo
  getprioritisedtransactions getrawaddrman getrawmempool getrawtransaction getrpcinfo gettxout gettxoutproof
  gettxoutsetinfo gettxspendingprevout getwork getzmqnotifications joinpsbts listbanned rescan rescanblocks
  scanblocks scantxoutset searchrawtransactions testmempoolaccept uptime utxoupdatepsbt validateaddress verifychain
  verifymessage verifytxoutproof version waitforblock waitforblockheight waitfornewblock help echo echoipc echojson ping
`);

/** What steers the node, feeds it, or changes its files, its peers or its chain. */
const CONTROL = words(`
  addconnection addnode addpeeraddress api authenticate clearbanned debuglevel disconnectnode dumptxoutset generate
  generateblock generatetoaddress generatetodescriptor getblockfrompeer importmempool invalidateblock loadtxfilter
  loadtxoutset logging mockscheduler node notifyblocks notifynewtransactions notifyreceived notifyspent preciousblock
  prioritisetransaction pruneblockchain reconsiderblock savemempool sendmsgtopeer sendrawtransaction session setban
  setgenerate setmocktime setnetworkactive stop stopnotifyblocks stopnotifynewtransactions stopnotifyreceived
  stopnotifyspent submitblock submitheader submitpackage syncwithvalidationinterfacequeue
`);

/** Keys and money: wallets, signers, and whatever takes a private key as a parameter. */
const WALLET = words(`
  abandontransaction abortrescan addmultisigaddress addwitnessaddress backupwallet bumpfee createencryptedwallet
  createnewaccount createwallet createwalletdescriptor descriptorprocesspsbt dumpprivkey dumpwallet encryptwallet
  enumeratesigners exportwatchingwallet fundrawtransaction getaccount getaccountaddress getaddressesbyaccount
  getaddressesbylabel getaddressinfo getbalance getbalances gethdkeys getnewaddress getrawchangeaddress
  getreceivedbyaccount getreceivedbyaddress getreceivedbylabel gettransaction getunconfirmedbalance getwalletinfo
  importaddress importdescriptors importmulti importprivkey importprunedfunds importpubkey importwallet keypoolrefill
  listaccounts listaddressgroupings listaddresstransactions listalltransactions listdescriptors listlabels
  listlockunspent listreceivedbyaccount listreceivedbyaddress listreceivedbylabel listsinceblock listtransactions
  listunspent listwalletdir listwallets loadwallet lockunspent migratewallet move newkeypool psbtbumpfee
  recoveraddresses removeprunedfunds renameaccount rescanblockchain resendwallettransactions restorewallet send sendall
  sendfrom sendmany sendtoaddress setaccount sethdseed setlabel settxfee setwalletflag signmessage
  signmessagewithprivkey signrawtransaction signrawtransactionwithkey signrawtransactionwithwallet
  simulaterawtransaction unloadwallet upgradewallet walletcreatefundedpsbt walletdisplayaddress walletislocked walletlock
  walletpassphrase walletpassphrasechange walletprocesspsbt
`);

/** Kind of a node's method by what it may cost. */
export type NodeMethodKind = 'reading' | 'control' | 'wallet';

const KINDS: ReadonlyMap<string, NodeMethodKind> = new Map([
  ...READING.map((name) => [name, 'reading'] as const),
  ...CONTROL.map((name) => [name, 'control'] as const),
  ...WALLET.map((name) => [name, 'wallet'] as const),
]);

/** What a node's method is; undefined for a name that no node is known to have. */
export function nodeMethodKind(method: string): NodeMethodKind | undefined {
  return KINDS.get(method);
}

/** Every name that belongs to a node. */
export function nodeMethods(): readonly string[] {
  return [...KINDS.keys()];
}

/**
 * Methods of the node that a module may answer in its place, when its manifest names them: both compute from their
 * parameters alone. None that moves money, submits, bans or stops can ever stand here.
 */
export const OVERRIDABLE_METHODS: ReadonlySet<string> = new Set(['getdescriptorinfo', 'analyzepsbt']);

/** Methods that the front door itself answers. */
export const HOST_METHODS: ReadonlySet<string> = new Set([
  'help',
  'loadmodule',
  'unloadmodule',
  'reloadmodule',
  'listmodules',
  'getmoduleclispecs',
  'runmodulecli',
]);
