import type { RunAnswer, RunOnce } from '../sandbox/probe.js';
import { spawnCommand } from './spawn.js';
import { abandonGate, awaitReady, openGate } from './start-gate.js';

/** How long a command of the probe may take, milliseconds; a busy Raspberry Pi needs some of it. */
const TIMEOUT_MS = 15_000;
/** What is kept of each stream, bytes. */
const MAX_OUTPUT_BYTES = 64 * 1024;

/** Makes what `openSandbox` tries the machine with: a command run to its end, bounded in time and output. */
export function createRunOnce(): RunOnce {
  return async (command): Promise<RunAnswer> => {
    try {
      const { child, stdout, stderr, gate } = await spawnCommand(command);
      const ended = new AbortController();
      child.once('exit', () => {
        ended.abort();
        if (gate !== undefined) abandonGate(gate);
      });
      if (gate !== undefined) void awaitReady(gate, ended.signal).then((isReady) => isReady && openGate(gate));
      const kept = { stdout: '', stderr: '' };
      for (const [name, stream] of [
        ['stdout', stdout],
        ['stderr', stderr],
      ] as const) {
        stream.setEncoding('latin1');
        stream.on('data', (text: string) => {
          kept[name] = (kept[name] + text).slice(0, MAX_OUTPUT_BYTES);
        });
      }
      const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
      const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
      clearTimeout(timer);
      return { code, ...kept };
    } catch (error) {
      return { code: null, stdout: '', stderr: error instanceof Error ? error.message : String(error) };
    }
  };
}
