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

/** True when the outcome is one that the kind of work may have. */
export function fits(work: InvocationWork, outcome: InvocationOutcome): boolean {
  return outcome.$case === 'failure' || outcome.$case === OUTCOMES[work.$case];
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
