import type { GetObservationResponse, PeakUse, PermissionUse } from '../../gen/ts/modhost/admin/v1/observation.js';
import type { CommandContext } from './context.js';

const MIB = 1024 * 1024;

/** Each thing that was seen, one line for each, in the same words whenever it is told. */
export function factsOf({ words, terminal }: CommandContext, seen: GetObservationResponse): string[] {
  const { enumName } = words();
  const permission = (number: number): string => enumName('modhost.v1.Permission', number).toLowerCase();
  const eventType = (number: number): string => enumName('modhost.event.v1.EventType', number);
  const by = ({ methods }: PermissionUse): string =>
    methods.length === 0 ? '' : ` by ${methods.map((path) => path.split('/').at(-1)).join(', ')}`;
  const names = (what: string, all: readonly string[]): string[] => all.map((one) => `${what} ${one}`);
  return [
    ...seen.used.map((use) => `used ${permission(use.permission)}${by(use)}`),
    ...seen.refused.map((use) => `${terminal.paintError('red', 'refused')} ${permission(use.permission)}${by(use)}`),
    ...names('subscribed to', seen.subscribed.map(eventType)),
    ...names('published', seen.published.map(eventType)),
    ...names('published topic', seen.topics),
    ...names('reached', seen.outbound),
    ...names('was reached on port', seen.inbound.map(String)),
    ...(seen.udp ? ['used UDP'] : []),
    ...names('offered the API method', seen.apiMethods),
    ...names('overrode', seen.rpcOverrides),
  ];
}

/** The end of an observation: counts, what was not used, peaks, and the manifest unless it went into a file. */
export function reportLines(
  context: CommandContext,
  seen: GetObservationResponse,
  written: string | undefined,
): string[] {
  const { enumName } = context.words();
  const { paint } = context.terminal;
  const permission = (number: number): string => enumName('modhost.v1.Permission', number).toLowerCase();
  const counted = (uses: readonly PermissionUse[]): string[] =>
    uses.map((use) => `${permission(use.permission)} ${use.count} times`);
  const listed = (all: readonly string[]): string => (all.length === 0 ? 'nothing' : all.join(', '));
  const { peak } = seen;
  const seconds = Math.round(Number(seen.readyMs) / 1_000);
  return [
    `${paint('bold', seen.module)} ${seen.version}, ready for ${seconds} s of the time that it was watched`,
    `used:    ${listed(counted(seen.used))}`,
    `unused:  ${listed(seen.unused.map(permission))}`,
    `refused: ${listed(counted(seen.refused))}`,
    ...(peak === undefined ? [] : [`at most: ${peakText(peak)}`]),
    'A path that was not taken was not seen: what the module does once a month, it did not ask for today.',
    ...(written === undefined
      ? ['', seen.manifestToml.trimEnd()]
      : [`the smallest manifest that would have sufficed is in ${written}`]),
  ];
}

function peakText(peak: PeakUse): string {
  const mib = (bytes: bigint): string => `${(Number(bytes) / MIB).toFixed(1)} MiB`;
  return [
    `memory ${mib(peak.memoryBytes)}`,
    `processor ${peak.cpuPercent.toFixed(1)} % of a core`,
    `${peak.pids} processes and threads`,
    `${peak.openFiles} open files`,
    `data ${mib(peak.dataBytes)}`,
    `storage ${mib(peak.storageBytes)}`,
  ].join(', ');
}
