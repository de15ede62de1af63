import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ToolPresence } from '../toolchain.js';

const ROOT = new URL('../..', import.meta.url).pathname;
/** Where the parser is installed, ahead of the tests. */
export const VENV = join(ROOT, '.cache/venv-prometheus');

/** One sample as the parser read it. */
export interface ParsedSample {
  name: string;
  labels: Record<string, string>;
  /** As the parser prints it: `inf` and `nan` are no JSON. */
  value: string;
}

/** One name with its samples as the parser read it. */
export interface ParsedFamily {
  name: string;
  type: string;
  help: string;
  samples: ParsedSample[];
}

/** Whether prometheus_client can be imported. */
export async function parserPresence(): Promise<ToolPresence> {
  try {
    await promisify(execFile)(`${VENV}/bin/python`, ['-c', 'import prometheus_client.parser']);
    return { available: true };
  } catch {
    return { available: false, reason: `${VENV} has no prometheus_client; run "npm run setup -- --ci"` };
  }
}

/** What Python's prometheus_client reads in a text. @throws when it refuses the text */
export async function parse(text: string): Promise<ParsedFamily[]> {
  const running = promisify(execFile)(`${VENV}/bin/python`, [join(ROOT, 'test/prometheus/parse.py')], {
    maxBuffer: 256 * 1024 * 1024,
  });
  running.child.stdin?.end(text);
  return JSON.parse((await running).stdout) as ParsedFamily[];
}
