import { writeFileSync } from 'node:fs';
import type { LoadModuleResponse, UnloadModuleResponse } from '../../../gen/ts/modhost/admin/v1/admin.js';
import type { GetObservationResponse } from '../../../gen/ts/modhost/admin/v1/observation.js';
import { type AdminClient, callUnary } from '../../client/admin-client.js';
import { HostError } from '../../contract/error.js';
import { delay } from '../../core/delay.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { listenToInterrupt } from '../interrupt.js';
import { factsOf, reportLines } from '../observation-text.js';
import { withProgress } from '../progress.js';
import { withHost } from '../reach.js';

/** How often the host is asked while somebody looks on, milliseconds. */
const LOOK_MS = 1_000;

/** Flags of `modhost observe`. */
export interface ObserveFlags extends AskFlags {
  /** Milliseconds; undefined = until Ctrl-C. */
  for?: number;
  /** A file that is not there yet. */
  write?: string;
  /** Forgets first what was seen before. */
  reset?: boolean;
}

/**
 * `modhost observe NAME`: what a module really uses, live, and at the end the smallest manifest that would have sufficed. A
 * module that does not run is started for it, and stopped again.
 */
export async function observe(context: CommandContext, name: string, flags: ObserveFlags): Promise<number> {
  const interrupt = listenToInterrupt(context);
  try {
    return await withHost(flags, context.env, async (client) => {
      const ask = (reset: boolean): Promise<GetObservationResponse> =>
        callUnary((done) => client.admin.getObservation({ module: name, reset }, done));
      const isOurs = await loadUnlessUp(context, client, name);
      try {
        if (flags.reset === true) await ask(true);
        const last = await look(context, flags, ask, interrupt.signal);
        if (flags.write !== undefined) writeManifestFile(flags.write, last.manifestToml);
        if (flags.json === true)
          sayJson(context, context.words().plain('modhost.admin.v1.GetObservationResponse', last));
        else for (const line of reportLines(context, last, flags.write)) context.terminal.say(line);
      } finally {
        if (isOurs) {
          const request = { name, cascade: false };
          await callUnary<UnloadModuleResponse>((done) => client.admin.unloadModule(request, done));
        }
      }
      return EXIT.ok;
    });
  } finally {
    interrupt.release();
  }
}

/** Shows each thing when it is seen for the first time; the last answer. */
async function look(
  context: CommandContext,
  flags: ObserveFlags,
  ask: (reset: boolean) => Promise<GetObservationResponse>,
  signal: AbortSignal,
): Promise<GetObservationResponse> {
  const { terminal } = context;
  const untilMs = performance.now() + (flags.for ?? Number.POSITIVE_INFINITY);
  const told = new Set<string>();
  if (flags.json !== true) {
    const end = flags.for === undefined ? 'until Ctrl-C' : `for ${Math.round(flags.for / 1_000)} s`;
    terminal.tell(`watching ${end}; a path that is not taken is not seen`);
  }
  for (;;) {
    const seen = await ask(false);
    if (flags.json !== true) {
      for (const fact of factsOf(context, seen)) {
        if (told.has(fact)) continue;
        told.add(fact);
        terminal.tell(fact);
      }
    }
    const leftMs = untilMs - performance.now();
    if (signal.aborted || leftMs <= 0) return seen;
    await delay(Math.min(LOOK_MS, leftMs), signal);
  }
}

/** True when the module was not up and was started. */
async function loadUnlessUp(context: CommandContext, client: AdminClient, name: string): Promise<boolean> {
  const loading = callUnary<LoadModuleResponse>((done) => client.admin.loadModule({ name, noWait: false }, done));
  try {
    await withProgress(context.terminal, `loading ${name}`, loading);
    return true;
  } catch (thrown) {
    if (HostError.from(thrown).reason === 'MODULE_ALREADY_LOADED') return false;
    throw thrown;
  }
}

function writeManifestFile(path: string, text: string): void {
  try {
    // never over a file: the manifest that is there may be signed
    writeFileSync(path, text, { flag: 'wx' });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'is there already; name another file' : `cannot be written: ${message}`;
    throw new HostError('BAD_CONFIG', `${path} ${why}`, { cause });
  }
}
