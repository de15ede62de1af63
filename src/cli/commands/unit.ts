import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostError } from '../../contract/error.js';
import type { CommandContext } from '../context.js';
import { EXIT } from '../exit.js';
import { defaultPlaces } from '../places.js';
import { systemdUnit, type UnitChoice } from '../systemd-unit.js';

/** What `modhost unit` may be told. */
export interface UnitFlags {
  config?: string;
  user?: string;
  session?: boolean;
  writable: string[];
}

/** `modhost unit`: a systemd unit for this very installation, on standard output; changes nothing. */
export async function unit(context: CommandContext, flags: UnitFlags): Promise<number> {
  if (flags.user !== undefined && flags.session === true) {
    throw new HostError(
      'BAD_CONFIG',
      '--user names the user of a system unit; with --session the unit is yours already',
    );
  }
  const config =
    flags.config ?? (flags.session === true ? defaultPlaces(context.env).config : '/etc/modhost/modhost.toml');
  const runAs: UnitChoice['runAs'] =
    flags.session === true
      ? { kind: 'session' }
      : flags.user === undefined || flags.user === 'root'
        ? { kind: 'root' }
        : { kind: 'user', name: flags.user };
  context.terminal.say(
    systemdUnit({
      node: process.execPath,
      main: builtProgram(),
      config: resolve(config),
      runAs,
      writable: flags.writable.map((path) => resolve(path)),
    }).trimEnd(),
  );
  return EXIT.ok;
}

/** The program as it is built, also for somebody who runs it from its sources. */
function builtProgram(): string {
  const here = import.meta.url;
  const place = here.endsWith('.ts') ? '../../../dist/src/cli/main.js' : '../main.js';
  return fileURLToPath(new URL(place, here));
}
