import { type DescMethod, type FileRegistry, getOption, hasOption } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { createContractRegistry } from '../src/contract/descriptors.js';
import { ERROR_REASONS } from '../src/contract/error.js';
import { readErrorTable } from '../src/contract/error-table.js';
import { readMethods } from '../src/contract/methods.js';
import { capabilityName, PERMISSIONS } from '../src/contract/permission.js';

/** The design's table of services, each line a permission and the rpcs that demand it: nothing more, nothing less. */
const DESIGN_TABLE = `
  none
    Session: Handshake Starting Ready GetContext
    Log: Write
    Pipeline: Open
    Invocation: Serve
    Event: GetDeliveryStats
  read_blockchain
    Chain: GetBlock GetBlockByHeight ListBlockTransactions GetBlockHeader GetTransaction GetTransactions HasTransaction
    Chain: StreamBlocks StreamHeaders
  read_chain_state
    Node: GetNodeInfo
    Chain: GetChainTip GetBlockHeight GetChainInfo GetSyncStatus
  read_utxo
    Utxo: GetUtxo GetUtxos
  read_mempool
    Mempool: ListTransactions GetTransaction GetSize CheckTransaction GetFeeEstimate
  send_transactions
    Mempool: SubmitTransaction SubmitPackage TestTransaction
  read_network
    Network: GetStats GetPeers GetBlockServeDenylist GetTxServeDenylist
  network_access
    Network: BanPeer SetBlockServeMaintenanceMode SendMeshPacket SendStratumV2Message
    Network: MergeBlockServeDenylist ReplaceBlockServeDenylist ClearBlockServeDenylist
    Network: MergeTxServeDenylist ReplaceTxServeDenylist ClearTxServeDenylist
  get_block_template
    Mining: GetBlockTemplate WatchBlockTemplate
  submit_block
    Mining: SubmitBlock
  queue_inbound_block
    Mining: QueueReceivedBlock
  read_lightning
    Lightning: GetNodeUrl GetInfo
  read_payment
    Payment: GetPaymentState
  read_governance
    Governance: ListProposals GetProposal
  vote_governance
    Governance: CastVote
  subscribe_events
    Event: Subscribe UpdateSubscription
  publish_events
    Event: Publish
  read_storage
    Storage: Get Contains Scan
  write_storage
    Storage: Put Delete Write
  manage_storage
    Storage: OpenTree DeleteTree ListTrees GetUsage SetQuota
  read_filesystem
    Filesystem: ReadFile ListDirectory GetMetadata GetUsage
  write_filesystem
    Filesystem: WriteFile
  manage_filesystem
    Filesystem: DeleteFile CreateDirectory RemoveDirectory SetQuota
  manage_timers
    Timer: RegisterTimer CancelTimer ScheduleTask CancelTask ListTimers
  report_metrics
    Metrics: Report
    Health: ReportHealth
  read_metrics
    Metrics: GetModuleMetrics GetAllMetrics
    Health: GetModuleHealth GetAllModuleHealth
  register_rpc_endpoint
    Rpc: RegisterEndpoint UnregisterEndpoint RegisterCoreOverride UnregisterCoreOverride RegisterCli
  discover_modules
    Module: Discover GetModule IsAvailable
  call_module
    Module: Call
  register_module_api
    Module: RegisterApi UnregisterApi
`;

/** The permissions that the founding document names, in its order, and those that the design added. */
const FOUNDING_PERMISSIONS = `
  read_blockchain read_utxo read_chain_state subscribe_events send_transactions
  read_mempool read_network network_access
  read_lightning read_payment
  read_storage write_storage manage_storage
  read_filesystem write_filesystem manage_filesystem
  register_rpc_endpoint manage_timers report_metrics read_metrics
  discover_modules publish_events call_module register_module_api`;
const ADDED_PERMISSIONS = 'submit_block queue_inbound_block get_block_template read_governance vote_governance';

/** The design's ALPHA rpcs. */
const ALPHA = words(`
  ListProposals GetProposal CastVote GetBlockServeDenylist GetTxServeDenylist
  MergeBlockServeDenylist ReplaceBlockServeDenylist ClearBlockServeDenylist
  MergeTxServeDenylist ReplaceTxServeDenylist ClearTxServeDenylist
  SetBlockServeMaintenanceMode QueueReceivedBlock SendMeshPacket SendStratumV2Message`);

/** One call may not cost more than a tenth of the budget that a module can save up (2,000). */
const MAX_WEIGHT = 200;

const registry = createContractRegistry();
const methods = [...readMethods(registry).values()];

describe('every rpc that a module can reach', () => {
  it('declares permission, stability and price itself', () => {
    const options = ['permission', 'stability', 'weight'].map((name) => registry.getExtension(`modhost.v1.${name}`));
    const missing = [];
    for (const [path, method] of moduleMethods(registry)) {
      for (const option of options) {
        if (option === undefined || !hasOption(method, option) || Number(getOption(method, option)) === 0) {
          missing.push(`${path} ${option?.name}`);
        }
      }
    }
    expect(missing).toEqual([]);
  });

  it('has the price of a call, not of a denial of service', () => {
    expect(methods.filter(({ weight }) => weight < 1 || weight > MAX_WEIGHT)).toEqual([]);
  });

  it('is in the design with that permission, and the design has no other', () => {
    const declared = methods.map(({ path, permission }) => `${path} ${permission.toLowerCase()}`);
    expect(declared.sort()).toEqual(readDesignTable().sort());
  });

  it('is ALPHA where the design says so, and nowhere else', () => {
    const alpha = methods.filter(({ stability }) => stability === 'ALPHA').map(({ name }) => name);
    expect(alpha.sort()).toEqual(ALPHA.sort());
  });

  it('waits for the handshake, except the handshake', () => {
    const early = methods.filter(({ beforeHandshake }) => beforeHandshake).map(({ path }) => path);
    expect(early).toEqual(['/modhost.v1.SessionService/Handshake']);
  });
});

describe('the closed lists', () => {
  it('give every reason a status code and a recovery', () => {
    const table = readErrorTable(registry);
    expect([...table.keys()]).toEqual(ERROR_REASONS);
    for (const [reason, { code }] of table) {
      expect(code >= 1 && code <= 16, `${reason} has code ${code}`).toBe(true);
    }
  });

  it('have every permission of the founding document by its capability name, and those of the design', () => {
    const names = PERMISSIONS.map(capabilityName);
    expect(names.slice().sort()).toEqual([...words(FOUNDING_PERMISSIONS), ...words(ADDED_PERMISSIONS)].sort());
  });

  it('are guarded by at least one rpc each', () => {
    const used = new Set<string>(methods.map(({ permission }) => permission));
    expect(PERMISSIONS.filter((permission) => !used.has(permission))).toEqual([]);
  });
});

describe('the prose', () => {
  it('lists the errors of every rpc, and only reasons that exist', () => {
    const known = new Set([...ERROR_REASONS, ...enumWords(registry)]);
    const wrong = [];
    for (const [path, method] of allMethods(registry)) {
      const errors = commentOf(method).split('Errors:')[1];
      if (errors === undefined) {
        wrong.push(`${path} has no "Errors:"`);
        continue;
      }
      for (const [word] of errors.matchAll(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g)) {
        if (!known.has(word) && !word.startsWith('MODHOST_')) wrong.push(`${path} names ${word}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('the files', () => {
  const contract = [...registry.files].filter(({ proto }) => proto.package.startsWith('modhost.'));

  it('are proto3, so that old generators read them', () => {
    expect(contract.filter(({ proto }) => proto.syntax !== 'proto3').map(({ name }) => name)).toEqual([]);
  });

  it('use no well-known type besides the descriptor behind the options', () => {
    const imports = contract.flatMap(({ name, dependencies }) =>
      dependencies.filter((file) => !file.proto.package.startsWith('modhost.')).map((file) => `${name} ${file.name}`),
    );
    expect(imports).toEqual(['modhost/v1/options google/protobuf/descriptor']);
  });

  it('hold no dollar sign: the C++ plugin of gRPC 1.51 dies of one in the comment of a service or rpc', () => {
    const comments = contract.flatMap(({ proto }) => proto.sourceCodeInfo?.location ?? []);
    const dollars = comments.map(({ leadingComments }) => leadingComments).filter((text) => text.includes('$'));
    expect(dollars).toEqual([]);
  });

  it('keep modules away from the control plane', () => {
    const reachable = contract.filter(({ proto }) => ['modhost.v1', 'modhost.event.v1'].includes(proto.package));
    const leaks = reachable.filter(({ proto }) => proto.dependency.some((path) => path.startsWith('modhost/admin/')));
    expect(leaks.map(({ name }) => name)).toEqual([]);
  });
});

function readDesignTable(): string[] {
  const rows: string[] = [];
  let permission = '';
  for (const line of DESIGN_TABLE.trim().split('\n')) {
    const [service, rpcs] = line.trim().split(': ');
    if (rpcs === undefined) {
      permission = service ?? '';
      continue;
    }
    const scope = service === 'Event' ? 'modhost.event.v1' : 'modhost.v1';
    for (const rpc of words(rpcs)) rows.push(`/${scope}.${service}Service/${rpc} ${permission}`);
  }
  return rows;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

function* allMethods(source: FileRegistry): Generator<[string, DescMethod]> {
  for (const type of source) {
    if (type.kind !== 'service') continue;
    for (const method of type.methods) yield [`/${type.typeName}/${method.name}`, method];
  }
}

function* moduleMethods(source: FileRegistry): Generator<[string, DescMethod]> {
  for (const [path, method] of allMethods(source)) {
    if (/^\/modhost\.(?:event\.)?v1\./.test(path)) yield [path, method];
  }
}

/** The comment above an rpc: services are field 6 of a file, methods field 2 of a service (descriptor.proto). */
function commentOf(method: DescMethod): string {
  const { proto } = method.parent.file;
  const path = [6, proto.service.indexOf(method.parent.proto), 2, method.parent.proto.method.indexOf(method.proto)];
  const location = proto.sourceCodeInfo?.location.find((place) => place.path.join() === path.join());
  return location?.leadingComments ?? '';
}

/** Names of all enum values, with and without the prefix of their enum. */
function* enumWords(source: FileRegistry): Generator<string> {
  for (const type of source) {
    if (type.kind !== 'enum') continue;
    const prefix = type.sharedPrefix?.toUpperCase() ?? '';
    for (const { name } of type.values) yield* [name, name.slice(prefix.length)];
  }
}
