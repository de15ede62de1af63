import type { Warning } from '../../gen/ts/modhost/admin/v1/status.js';
import { DEFAULT_SANDBOX_MINIMUM, sandboxMinimumText } from '../contract/guarantee.js';
import { nodeMethodKind } from '../contract/node-methods.js';
import { printableLine } from '../core/printable.js';
import { missingGuarantees, missingText } from '../sandbox/minimum.js';
import type { Lifecycle } from './lifecycle.js';
import type { HostOptions } from './options.js';
import { PROVIDED_SERVICES } from './providers.js';
import type { Confinement } from './start-module.js';
import type { Switches } from './switches.js';

/** Longest text of a warning: a manifest's author may have written part of it. */
const MAX_WARNING_CHARS = 512;

/** What warnings are told of. */
export interface WarnedParts {
  options: HostOptions;
  lifecycle: Pick<Lifecycle, 'slots' | 'broken'>;
  confinement: Pick<Confinement, 'engine' | 'identities' | 'cures'>;
  switches: Switches;
}

/** What an operator should not overlook, the most serious first. */
export function warningsOf({ options, lifecycle, confinement, switches }: WarnedParts): Warning[] {
  return [
    ...switchWarnings(switches),
    ...confinementWarnings(options, confinement),
    ...handedOnWarnings(options),
    ...providerWarnings(options, lifecycle),
    ...moduleWarnings(lifecycle),
  ];
}

function switchWarnings(switches: Switches): Warning[] {
  const broken = switches.broken();
  if (broken === undefined) return [];
  const message = printableLine(`no module is started by itself: ${broken.message}`, MAX_WARNING_CHARS);
  return [{ code: 'switches_corrupt', message, module: '' }];
}

function confinementWarnings(
  { sandboxMinimum = DEFAULT_SANDBOX_MINIMUM }: HostOptions,
  { engine, identities, cures }: WarnedParts['confinement'],
): Warning[] {
  const containment = engine.containment();
  const warn = (code: string, message: string): Warning => ({
    code,
    message: printableLine(message, MAX_WARNING_CHARS),
    module: '',
  });
  const warnings: Warning[] = [];
  const refused = missingGuarantees(sandboxMinimum, containment);
  const weak = missingGuarantees(DEFAULT_SANDBOX_MINIMUM, containment);
  if (refused.length > 0) {
    const asked = sandboxMinimumText(sandboxMinimum);
    const text = `no module is started by this host, sandbox.minimum = ${asked}: ${missingText(refused, cures)}`;
    warnings.push(warn('sandbox_below_minimum', text));
  } else if (weak.length > 0) {
    const text = `modules run with less than '${DEFAULT_SANDBOX_MINIMUM}': ${missingText(weak, cures)}`;
    warnings.push(warn('sandbox_weak', text));
  }
  if (process.getuid?.() === 0 && identities === undefined) {
    const text = 'the host is root and cannot give modules users of their own: what escapes from a module is root';
    warnings.push(warn('running_as_root', text));
  }
  return warnings;
}

/** A provider that is not there is told at once, and not first by the modules that need it. */
function providerWarnings({ providers = {} }: HostOptions, lifecycle: WarnedParts['lifecycle']): Warning[] {
  const known = new Set([...lifecycle.slots(), ...lifecycle.broken()].map(({ name }) => name));
  return PROVIDED_SERVICES.flatMap((service) => {
    const name = providers[service];
    if (name === undefined || known.has(name)) return [];
    const text = `providers.${service} names ${name}, a module that is not there: nobody answers the ${service} service`;
    return [{ code: 'unknown_provider', message: printableLine(text, MAX_WARNING_CHARS), module: name }];
  });
}

/** What acts on the node or its wallet is handed on at the operator's word; the word may have been given long ago. */
function handedOnWarnings({ rpc }: HostOptions): Warning[] {
  if (rpc === undefined || rpc.enabled === false) return [];
  const acting = (rpc.passthrough ?? []).filter((method) => nodeMethodKind(method) !== 'reading');
  if (acting.length === 0) return [];
  const text = `the front door hands on what acts on the node or its wallet: ${acting.join(', ')}`;
  return [{ code: 'node_methods_handed_on', message: printableLine(text, MAX_WARNING_CHARS), module: '' }];
}

function moduleWarnings(lifecycle: WarnedParts['lifecycle']): Warning[] {
  const unsigned = lifecycle
    .slots()
    .filter((slot) => slot.unsigned)
    .map((slot) => ({
      code: 'unsigned_module',
      message: `${slot.name} may run without verified signatures`,
      module: slot.name,
    }));
  const broken = lifecycle.broken().map(({ name, error }) => ({
    code: 'broken_module',
    message: printableLine(error?.message ?? '', MAX_WARNING_CHARS),
    module: printableLine(name, MAX_WARNING_CHARS),
  }));
  return [...unsigned, ...broken];
}
