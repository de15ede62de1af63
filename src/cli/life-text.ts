import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import type { ContractWords } from '../contract/plain.js';
import { printable } from '../core/printable.js';
import { durationText } from './table.js';
import type { Paint } from './terminal.js';

/** Steps that are shown; `--json` has all that the host keeps. */
const SHOWN_STEPS = 5;

/** How a module is and has been: health, what went wrong lately, its last steps; pairs of label and text. */
export function lifeLines(module: ModuleStatus, words: ContractWords, paint: Paint): [label: string, text: string][] {
  const stateName = (state: number): string => words.enumName('modhost.v1.ModuleState', state);
  const lines: [string, string][] = [];
  const health = healthText(module, words);
  if (health !== '') lines.push(['health', module.responsive ? health : paint('yellow', health)]);
  if (module.restartInMs > 0) lines.push(['restart', `in ${durationText(module.restartInMs)}`]);
  if (module.recentErrors.length > 0) {
    const counted = module.recentErrors.map(
      ({ reason, count }) => `${words.enumName('modhost.v1.ErrorReason', reason)} ${count}`,
    );
    lines.push(['lately', `${counted.join(', ')} (last 10 minutes)`]);
  }
  for (const { timeUnixMs, from, to, reason } of module.history.slice(-SHOWN_STEPS)) {
    const time = new Date(Number(timeUnixMs)).toISOString();
    lines.push(['step', `${time} ${stateName(from)} -> ${stateName(to)}: ${printable(reason)}`]);
  }
  return lines;
}

function healthText(module: ModuleStatus, words: ContractWords): string {
  const probe = words.enumName('modhost.admin.v1.ProbeKind', module.probe);
  if (probe === 'UNSPECIFIED') return '';
  const asked = probe === 'PING' ? 'answers PING' : 'answers health checks';
  const word = module.missedProbes === 0 ? asked : `missed ${module.missedProbes} health checks in a row`;
  if (module.health === undefined) return word;
  const { status, message } = module.health;
  const own = words.enumName('modhost.v1.HealthStatus', status).toLowerCase();
  return `${word}; says of itself: ${own}${message === '' ? '' : `, ${printable(message)}`}`;
}
