import type { Redactor } from '../core/redactor.js';
import type { ExitReport } from '../process/exit.js';
import type { RunningProcess } from '../process/running-process.js';

/** The process with the module's secrets taken out of what is kept of its standard error: diagnoses of its end repeat that. */
export function redactedProcess(process: RunningProcess, redactor: Redactor): RunningProcess {
  const redact = async (ended: Promise<ExitReport>): Promise<ExitReport> => {
    const report = await ended;
    return { ...report, stderrTail: redactor.redactCut(report.stderrTail) };
  };
  return {
    ...process,
    exited: redact(process.exited),
    stop: (graceMs) => redact(process.stop(graceMs)),
    kill: () => redact(process.kill()),
    stderrTail: () => redactor.redactCut(process.stderrTail()),
  };
}
