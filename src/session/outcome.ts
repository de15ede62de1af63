import { isJson } from '../core/json-text.js';
import type { InvocationOutcome, InvocationWork } from './invocations.js';

/** The outcome that each kind of work demands; `failure` fits all. */
const OUTCOMES: Readonly<Record<InvocationWork['$case'], InvocationOutcome['$case']>> = {
  rpc: 'rpc',
  cli: 'cli',
  api: 'api',
  timer: 'done',
  task: 'done',
  health: 'health',
  configChange: 'done',
  migrate: 'done',
  stop: 'done',
};

/** What is wrong with the outcome of a piece of work, in words for the log; undefined when nothing is. */
export function flawOf(work: InvocationWork, outcome: InvocationOutcome | undefined): string | undefined {
  const got = outcome?.$case ?? 'nothing';
  if (outcome === undefined || (got !== 'failure' && got !== OUTCOMES[work.$case])) return `was answered with ${got}`;
  if (work.$case !== 'rpc') return undefined;
  // it reaches the caller as it is, so nothing but JSON may
  if (outcome.$case === 'rpc' && !isJson(outcome.value.resultJson)) return 'was answered with what is no JSON';
  const data = outcome.$case === 'failure' ? outcome.value.dataJson : '';
  return data === '' || isJson(data) ? undefined : 'has failed with data that is no JSON';
}

/** Bytes of the parts of one piece of work that somebody else chose; what is around them is small. */
export function sizeOf(work: InvocationWork): number {
  switch (work.$case) {
    case 'rpc':
      return Buffer.byteLength(work.value.paramsJson);
    case 'api':
      return work.value.params.byteLength;
    case 'cli':
      return work.value.args.reduce((sum, arg) => sum + Buffer.byteLength(arg) + 8, 0);
    case 'task':
      return work.value.payload.byteLength;
    case 'configChange':
      return Buffer.byteLength(work.value.configJson);
    default:
      return 0;
  }
}
