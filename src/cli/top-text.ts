import type {
  HostLoad,
  MachineLoad,
  ModuleLoad,
  NodeLoad,
  StreamTopResponse,
} from '../../gen/ts/modhost/admin/v1/top.js';
import { printable } from '../core/printable.js';
import { type Column, tableLines } from './table.js';
import type { Paint } from './terminal.js';

/** What the modules are sorted by: the dearest first. */
export const TOP_SORTS = ['cpu', 'memory', 'calls', 'node'] as const;
export type TopSort = (typeof TOP_SORTS)[number];

/** From this share of a budget on a figure is set off, percent. */
const NEAR_PERCENT = 80;
/** Longest name of a module in the table, characters. */
const MAX_NAME_CHARS = 24;

/** How the load is shown. */
export interface TopView {
  readonly sort: TopSort;
  /** Columns of the terminal; infinite where there is none. */
  readonly columns: number;
  readonly paint: Paint;
  /** Word of a module's state. */
  stateName(state: number): string;
}

/** One answer of StreamTop as lines, none wider than the view: host, node, machine, and a table of modules. */
export function topLines(load: StreamTopResponse, view: TopView): string[] {
  const time = `${new Date(Number(load.timeUnixMs)).toISOString().slice(11, 19)}Z`;
  const facts: [label: string, text: string][] = [
    ['modhost', `${time}, over ${(load.intervalMs / 1000).toFixed(1)} s, by ${view.sort}`],
    ...(load.host === undefined ? [] : [['host', hostText(load.host)] as [string, string]]),
    ...(load.node === undefined ? [] : [['node', nodeText(load.node)] as [string, string]]),
    ...(load.machine === undefined ? [] : [['machine', machineText(load.machine)] as [string, string]]),
  ];
  const head = facts.map(([label, text]) => {
    const padded = label.padEnd(LABEL_WIDTH);
    const whole = `${padded}${text}`;
    return whole.length > view.columns ? whole.slice(0, view.columns) : `${view.paint('bold', padded)}${text}`;
  });
  if (load.modules.length === 0) return [...head, '', 'no module has a session'.slice(0, Math.min(80, view.columns))];
  return [...head, '', ...moduleTable(sorted(load.modules, view.sort), view)];
}

/** Columns of the words on the left. */
const LABEL_WIDTH = 9;

const SORT_KEYS: Readonly<Record<TopSort, (load: ModuleLoad) => number>> = {
  cpu: ({ cpuPercent }) => cpuPercent,
  memory: ({ memoryBytes }) => Number(memoryBytes),
  calls: ({ callsPerSecond }) => callsPerSecond,
  node: ({ nodeSharePercent }) => nodeSharePercent,
};

function sorted(modules: readonly ModuleLoad[], by: TopSort): ModuleLoad[] {
  const key = SORT_KEYS[by];
  return [...modules].sort((a, b) => key(b) - key(a) || (a.module < b.module ? -1 : 1));
}

function hostText({
  memoryBytes,
  cpuPercent,
  loopDelayMs,
  openFiles,
  callsPerSecond,
  eventsPerSecond,
}: HostLoad): string {
  return [
    `${rate(cpuPercent)} % processor`,
    `${sizeText(memoryBytes)} memory`,
    `loop at most ${rate(loopDelayMs)} ms late`,
    `${openFiles} open files`,
    `${rate(callsPerSecond)} calls/s`,
    `${rate(eventsPerSecond)} events/s`,
  ].join(', ');
}

function nodeText({ callsInFlight, maxCallsInFlight, callsPerSecond, meanMs }: NodeLoad): string {
  const bound = maxCallsInFlight === 0 ? '' : ` of ${maxCallsInFlight}`;
  return `${callsInFlight}${bound} calls in flight, ${rate(callsPerSecond)} calls/s, ${rate(meanMs)} ms each`;
}

function machineText(machine: MachineLoad): string {
  return [
    `${rate(machine.cpuPercent)} of ${machine.cores * 100} % processor`,
    `${sizeText(machine.availableBytes)} of ${sizeText(machine.memoryBytes)} memory free`,
    `${sizeText(machine.diskFreeBytes)} of ${sizeText(machine.diskBytes)} disk free`,
  ].join(', ');
}

/** A column that may be left out where the terminal is narrow: the higher, the sooner. */
interface TopColumn extends Column<ModuleLoad> {
  readonly rank: number;
}

function moduleTable(modules: readonly ModuleLoad[], { columns: width, paint, stateName }: TopView): string[] {
  /** A figure and what share of its budget that is; without a budget the figure alone. */
  const budgeted = (
    title: string,
    rank: number,
    figure: (load: ModuleLoad) => string,
    percent: (load: ModuleLoad) => number | undefined,
  ): TopColumn => ({
    title,
    rank,
    right: true,
    cell: (load) => {
      const share = percent(load);
      return share === undefined ? figure(load) : `${figure(load)} ${`${Math.round(share)}%`.padStart(4)}`;
    },
    paint: (load, text) => {
      const share = percent(load) ?? 0;
      return share > NEAR_PERCENT ? paint(share >= 100 ? 'red' : 'yellow', text) : text;
    },
  });
  const plain = (title: string, rank: number, figure: (load: ModuleLoad) => string, isBad = false): TopColumn => ({
    title,
    rank,
    right: true,
    cell: figure,
    paint: (load, text) => (isBad && figure(load) !== '0' ? paint('yellow', text) : text),
  });
  const all: TopColumn[] = [
    { title: 'MODULE', rank: 0, cell: ({ module }) => printable(module).slice(0, MAX_NAME_CHARS) },
    { title: 'STATE', rank: 7, cell: ({ state }) => stateName(state) },
    budgeted(
      'CPU',
      1,
      ({ cpuPercent }) => rate(cpuPercent),
      (load) => shareOf(load.cpuPercent, load.maxCpuPercent),
    ),
    budgeted(
      'MEMORY',
      2,
      (load) => sizeText(load.memoryBytes),
      (load) => shareOf(load.memoryBytes, load.maxMemoryBytes),
    ),
    budgeted(
      'CALLS/S',
      3,
      (load) => rate(load.callsPerSecond),
      (load) => shareOf(load.callsPerSecond, load.maxCallsPerSecond),
    ),
    budgeted(
      'NODE/S',
      4,
      (load) => rate(load.nodeCallsPerSecond),
      ({ nodeSharePercent }) => nodeSharePercent,
    ),
    budgeted(
      'PIDS',
      10,
      ({ pids }) => String(pids),
      (load) => shareOf(load.pids, load.maxPids),
    ),
    budgeted(
      'DISK',
      8,
      (load) => sizeText(load.dataBytes),
      (load) => shareOf(load.dataBytes, load.maxDataBytes),
    ),
    budgeted(
      'STORAGE',
      9,
      (load) => sizeText(load.storageBytes),
      (load) => shareOf(load.storageBytes, load.maxStorageBytes),
    ),
    plain('EVENTS/S', 5, (load) => rate(load.eventsPerSecond)),
    plain('DROPPED/S', 6, (load) => rate(load.droppedPerSecond), true),
    plain('LIMITED/S', 11, (load) => rate(load.limitedPerSecond), true),
    plain('OPEN', 12, ({ openInvocations }) => String(openInvocations)),
  ];
  const bare: Paint = (_style, text) => text;
  const bareOf = (columns: readonly TopColumn[]): string[] =>
    tableLines(
      modules,
      columns.map(({ paint: _paint, ...column }) => column),
      bare,
    );
  let shown = all;
  while (shown.length > 1 && bareOf(shown).some((line) => line.length > width)) {
    const last = Math.max(...shown.map(({ rank }) => rank));
    shown = shown.filter(({ rank }) => rank !== last);
  }
  const lines = bareOf(shown);
  // not even one column fits: cut, and without colours that a cut could leave open
  if (lines.some((line) => line.length > width)) return lines.map((line) => line.slice(0, width));
  return tableLines(modules, shown, paint);
}

/** Percent of a budget; undefined where there is none. */
function shareOf(used: number | bigint, budget: number | bigint): number | undefined {
  return Number(budget) === 0 ? undefined : (Number(used) * 100) / Number(budget);
}

/** `0`, `0.4`, `12`. */
function rate(value: number): string {
  if (value === 0) return '0';
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** `512 KiB`, `48 MiB`, `3.1 GiB`. */
function sizeText(bytes: bigint): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 2 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
