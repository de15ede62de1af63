import type { GetStatusResponse } from '../../gen/ts/modhost/admin/v1/admin.js';
import type { ModuleStatus, NetworkUse, NodeStatus, Usage } from '../../gen/ts/modhost/admin/v1/status.js';
import type { Guarantee, Limits } from '../../gen/ts/modhost/v1/session.js';
import type { ContractWords } from '../contract/plain.js';
import { hashToDisplay } from '../core/bytes.js';
import { printable } from '../core/printable.js';
import { lifeLines } from './life-text.js';
import { durationText } from './table.js';
import type { Paint } from './terminal.js';

/** Columns that the left words take. */
const LABEL_WIDTH = 10;

/** One labelled line. */
export function labelled(label: string, text: string, paint: Paint): string {
  return `${paint('bold', label.padEnd(LABEL_WIDTH))} ${text}`;
}

/** Host, node and containment for people; modules come apart. */
export function hostLines(status: GetStatusResponse, words: ContractWords, paint: Paint): string[] {
  const { host, node } = status;
  if (host === undefined || node === undefined) return [];
  const line = (label: string, text: string): string => labelled(label, text, paint);
  return [
    line(
      'host',
      `modhost ${host.version}, pid ${host.pid}, up ${durationText(Number(host.uptimeMs))}, ${host.runtimeVersion}`,
    ),
    ...nodeLines(node, words, paint),
    line('sandbox', guaranteeText(host.containment, words)),
    line('modules', printable(host.modulesDir)),
    line('data', printable(host.dataDir)),
    line('sockets', printable(host.socketDir)),
    ...(host.rpcUrl === '' ? [] : [line('json-rpc', `${host.rpcUrl}, password in ${printable(host.rpcCookieFile)}`)]),
    ...(host.configFile === '' ? [] : [line('config', printable(host.configFile))]),
    ...(host.stopping ? [line('', paint('yellow', 'the host is stopping'))] : []),
    ...host.warnings.map(({ code, message }) =>
      line('WARNING', paint('yellow', `${code.toUpperCase()}: ${printable(message)}`)),
    ),
  ];
}

function nodeLines(node: NodeStatus, words: ContractWords, paint: Paint): string[] {
  const line = (label: string, text: string): string => labelled(label, text, paint);
  const simulated = node.simulated ? paint('yellow', ' — SIMULATED: its blocks and coins are worth nothing') : '';
  const sync = node.initialBlockDownload
    ? paint('yellow', `, initial sync at ${(node.syncProgress * 100).toFixed(1)} %`)
    : '';
  const pruned = node.pruned ? `, pruned below ${node.pruneHeight}` : '';
  const error = node.lastError;
  return [
    line(
      'node',
      node.kind === ''
        ? 'not reached yet'
        : `${printable(`${node.kind} ${node.version}`.trim())} on ${printable(node.network)}${simulated}`,
    ),
    line(
      'tip',
      node.tipHash.length === 0 ? 'unknown' : `${node.tipHeight} ${hashToDisplay(node.tipHash)}${sync}${pruned}`,
    ),
    ...(node.notifications === '' ? [] : [line('heard by', printable(node.notifications))]),
    ...(node.reachable || error === undefined
      ? []
      : [
          line(
            'NODE DOWN',
            paint('red', `${words.enumName('modhost.v1.ErrorReason', error.reason)}: ${printable(error.message)}`),
          ),
        ]),
  ];
}

/** `enforced: a, b; watched: c; NOT enforced: d, e (why)`; what is claimed and was not tried on this machine says so. */
export function guaranteeText(guarantees: readonly Guarantee[], words: ContractWords): string {
  const titles: readonly (readonly [string, string])[] = [
    ['ENFORCED', 'enforced'],
    ['WATCHED', 'watched'],
    ['BY_OTHERS', 'left to others'],
    ['NONE', 'NOT enforced'],
  ];
  const parts = titles.flatMap(([wanted, title]) => {
    // what holds is told by name; what does not hold, with the cause
    const byCause = new Map<string, string[]>();
    for (const { name, state, by, verified } of guarantees) {
      if (words.enumName('modhost.v1.GuaranteeState', state) !== wanted) continue;
      const cause = wanted === 'NONE' && by !== '' ? ` (${by})` : '';
      const trust = wanted === 'ENFORCED' && !verified ? ' (not tried)' : '';
      byCause.set(cause, [...(byCause.get(cause) ?? []), name + trust]);
    }
    return [...byCause].map(([cause, names]) => `${title}: ${printable(names.join(', ') + cause)}`);
  });
  return parts.length === 0 ? 'none' : parts.join('; ');
}

/** One line per promise: how far it holds, by what, and whether that was tried on this machine. */
export function guaranteeLines(guarantees: readonly Guarantee[], words: ContractWords, paint: Paint): string[] {
  return guarantees.map(({ name, state, by, verified }) => {
    const word = words.enumName('modhost.v1.GuaranteeState', state).toLowerCase().replaceAll('_', '-');
    return labelled(
      printable(name),
      `${word.padEnd(STATE_WIDTH)} ${printable(by)}${verified ? ', tried here' : ''}`,
      paint,
    );
  });
}

/** Columns of a state's word. */
const STATE_WIDTH = 9;

/** `48 of 512 MiB memory, 3 of 50 % processor, ...`; without limits the use alone. */
export function usageText(usage: Usage, limits: Limits | undefined): string {
  const mib = (bytes: bigint): number => Math.round(Number(bytes) / 1_048_576);
  const share = (used: number, limit: number | undefined, unit: string): string =>
    `${limit === undefined ? used : `${used} of ${limit}`} ${unit}`;
  return [
    share(mib(usage.memoryBytes), limits?.memoryMb, 'MiB memory'),
    share(Math.round(usage.cpuPercent), limits?.cpuPercent, '% processor'),
    share(usage.pids, limits?.pids, 'processes and threads'),
    share(usage.openFiles, limits?.openFiles, 'open files'),
    share(mib(usage.dataBytes), limits?.dataMb, 'MiB disk'),
  ].join(', ');
}

/** Grants in force and what was done with them. */
function networkText({ grants, open, opened, refused, failed, sentBytes, receivedBytes }: NetworkUse): string {
  const kib = (bytes: bigint): string => `${(bytes + 1023n) / 1024n} KiB`;
  const counts = `${open} open of ${opened}, ${refused} refused, ${failed} failed, ${kib(sentBytes)} sent, ${kib(receivedBytes)} received`;
  return `${printable(grants.join(', '))}; ${counts}`;
}

/** Version, state, process and how it came to be so: what one looks for first. */
function stateText(module: ModuleStatus, words: ContractWords): string {
  const state = words.enumName('modhost.v1.ModuleState', module.state);
  const up = module.readyUnixMs === 0n ? '' : `up ${durationText(Date.now() - Number(module.readyUnixMs))}`;
  const starting =
    state === 'STARTING' && (module.startProgressPercent > 0 || module.startMessage !== '')
      ? `${module.startProgressPercent} % ${printable(module.startMessage)}`.trim()
      : '';
  return [
    `${printable(module.version)} ${state}`.trim(),
    module.pid === 0 ? '' : `pid ${module.pid}`,
    up,
    module.restarts === 0 ? '' : `${module.restarts} restarts, ${module.recentCrashes} crashes lately`,
    starting,
    module.enabled ? '' : 'not started by itself',
    state === 'RUNNING' || module.reason === '' ? '' : printable(module.reason),
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** Methods that are named in a line; `--json` has all. */
const SHOWN_METHODS = 8;

/** What the host keeps for it, and what it offers to others. */
function keptTexts(module: ModuleStatus): [label: string, text: string][] {
  const { storageKeys, storageBytes, limits, timers, rpcMethods, commandSet, apiVersion, provides } = module;
  const of = (limit: number | undefined, unit: string): string => (limit === undefined ? '' : ` of ${limit} ${unit}`);
  const kib = (storageBytes + 1023n) / 1024n;
  const shown = rpcMethods.slice(0, SHOWN_METHODS).join(', ');
  const further = rpcMethods.length > SHOWN_METHODS ? ` and ${rpcMethods.length - SHOWN_METHODS} more` : '';
  const offers = [
    commandSet === '' ? '' : `commands: modhost cli ${commandSet}`,
    rpcMethods.length === 0 ? '' : `JSON-RPC: ${shown}${further}`,
    apiVersion === 0 ? '' : `API version ${apiVersion}`,
    provides.length === 0 ? '' : `answers for ${provides.join(', ')}`,
  ].filter((part) => part !== '');
  const lines: [string, string][] = [];
  if (storageKeys > 0n || storageBytes > 0n) {
    lines.push(['storage', `${storageKeys} keys, ${kib} KiB${of(limits?.storageMb, 'MiB')}`]);
  }
  if (timers > 0) lines.push(['timers', `${timers}${of(limits?.maxTimers, 'timers and tasks')}`]);
  if (offers.length > 0) lines.push(['offers', printable(offers.join('; '))]);
  return lines;
}

/** One module in full, indented below its line of the table. */
export function moduleLines(module: ModuleStatus, words: ContractWords, paint: Paint): string[] {
  const line = (label: string, text: string): string => `  ${labelled(label, text, paint)}`;
  const names = (numbers: readonly number[]): string =>
    numbers.map((number) => words.enumName('modhost.v1.Permission', number).toLowerCase()).join(', ') || 'nothing';
  const { lastError, counters } = module;
  return [
    paint('bold', printable(module.name)),
    line('state', stateText(module, words)),
    ...(module.unsigned
      ? [line('UNSIGNED', paint('yellow', 'runs at your word alone: nobody has vouched for its files'))]
      : []),
    line('granted', names(module.granted)),
    ...(module.withheld.length === 0 ? [] : [line('withheld', names(module.withheld))]),
    ...module.queues.map((queue) =>
      line(
        `queue ${words.enumName('modhost.v1.EventQueue', queue.queue).toLowerCase()}`,
        `published ${queue.published}, delivered ${queue.delivered}, queued ${queue.queued}, dropped ${queue.dropped}, failed ${queue.failed}`,
      ),
    ),
    ...(counters === undefined
      ? []
      : [
          line(
            'calls',
            `${counters.calls} passed, ${counters.denied} denied, ${counters.limited} limited, ${counters.failed} failed`,
          ),
        ]),
    ...(module.usage === undefined ? [] : [line('uses', usageText(module.usage, module.limits))]),
    ...(module.network === undefined ? [] : [line('network', networkText(module.network))]),
    ...keptTexts(module).map(([label, text]) => line(label, text)),
    ...(module.containment.length === 0 ? [] : [line('sandbox', guaranteeText(module.containment, words))]),
    ...lifeLines(module, words, paint).map(([label, text]) => line(label, text)),
    ...(module.externalSocket === '' ? [] : [line('socket', printable(module.externalSocket))]),
    ...(module.externalTokenFile === '' ? [] : [line('token file', printable(module.externalTokenFile))]),
    ...(lastError === undefined
      ? []
      : [
          line(
            'error',
            paint(
              'red',
              `${words.enumName('modhost.v1.ErrorReason', lastError.reason)}: ${printable(lastError.message)}`,
            ),
          ),
        ]),
  ];
}
