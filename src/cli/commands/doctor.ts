import { sandboxMinimumText } from '../../contract/guarantee.js';
import { createSilentLogger } from '../../core/logger.js';
import { printable } from '../../core/printable.js';
import { type Examination, examineMachine } from '../../host/doctor.js';
import { type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withProgress } from '../progress.js';
import { type RunFlags, resolveRun } from '../settings.js';
import { labelled } from '../status-text.js';
import type { Paint, Style } from '../terminal.js';

/** Flags of `modhost doctor`: those of a run that decide what it would find. */
export type DoctorFlags = Pick<
  RunFlags,
  'config' | 'network' | 'socketDir' | 'dataDir' | 'modulesDir' | 'sandboxMinimum'
> & {
  json?: boolean;
};

/**
 * `modhost doctor`: what a run would find on this machine, tried as a run tries it, and the cure for what is missing.
 * Needs no running host and changes nothing.
 *
 * @returns EXIT.ok when the configured minimum is met, else EXIT.refused
 */
export async function doctor(context: CommandContext, flags: DoctorFlags): Promise<number> {
  const settings = resolveRun({ ...flags, allowUnsigned: [] }, context.env);
  const examination = await withProgress(
    context.terminal,
    'trying the sandbox',
    examineMachine({
      minimum: settings.sandboxMinimum,
      dataDir: settings.dataDir,
      modulesDir: settings.modulesDir,
      socketDir: settings.socketDir,
      interpreters: settings.config.interpreters,
      logger: createSilentLogger(),
    }),
  );
  if (flags.json === true) sayJson(context, plainExamination(examination));
  else for (const line of examinationLines(examination, context.terminal.paint)) context.terminal.say(line);
  return examination.missing.length === 0 ? EXIT.ok : EXIT.refused;
}

function plainExamination({ minimum, missing, meets, engine, containment, facts, remedies }: Examination): object {
  return {
    minimum: sandboxMinimumText(minimum),
    met: missing.length === 0,
    missing: missing.map(({ name, wanted, found }) => ({ name, wanted, state: found.state, by: found.by })),
    meets,
    engine,
    containment: containment.map(({ name, state, by, verified }) => ({ name, state, by, verified })),
    facts: facts.map(({ topic, state, text }) => ({ topic, state, text })),
    cures: remedies.map(({ guarantees, cause, steps }) => ({ guarantees, cause, steps })),
  };
}

const STATE_STYLE: Readonly<Record<string, Style>> = {
  enforced: 'green',
  watched: 'yellow',
  none: 'red',
  ok: 'green',
  note: 'yellow',
  lacking: 'red',
};

/** Columns of the state's word. */
const STATE_WIDTH = 9;

function examinationLines(examination: Examination, paint: Paint): string[] {
  const { minimum, missing, meets, engine, containment, facts, remedies } = examination;
  const state = (word: string): string => paint(STATE_STYLE[word] ?? 'dim', word.padEnd(STATE_WIDTH));
  const verdict =
    missing.length === 0
      ? paint('green', 'met')
      : paint('red', `NOT met: ${missing.map(({ name }) => name).join(', ')} missing; modules are refused`);
  return [
    ...facts.map((fact) => labelled(fact.topic, `${state(fact.state)} ${printable(fact.text)}`, paint)),
    '',
    ...containment.map((promise) => {
      const tried = promise.verified ? ', tried here' : '';
      return labelled(promise.name, `${state(promise.state)} ${printable(promise.by)}${tried}`, paint);
    }),
    '',
    labelled('sandbox', engine, paint),
    labelled('meets', meets.join(', '), paint),
    labelled('minimum', `${sandboxMinimumText(minimum)}: ${verdict}`, paint),
    ...remedies.flatMap(({ guarantees, cause, steps }) => [
      '',
      `${paint('bold', guarantees.join(', '))}: ${printable(cause)}`,
      ...steps.flatMap((step) => step.split('\n').map((line, i) => (i === 0 ? `  - ${line}` : `      ${line}`))),
    ]),
  ];
}
