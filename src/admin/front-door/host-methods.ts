import { HostError } from '../../contract/error.js';
import type { ContractWords } from '../../contract/plain.js';
import type { EndpointBook } from '../../session/endpoint-book.js';
import type { HostControl } from '../host-control.js';
import { readParams } from './params.js';

/** What the host's own methods are made of. */
export interface HostMethodParts {
  readonly control: HostControl;
  readonly endpoints: EndpointBook;
  readonly words: ContractWords;
  /** Methods that are handed on to the node. */
  readonly passthrough: readonly string[];
}

/** One method of the host's own. */
export interface HostMethod {
  /** Names of its parameters, as `readParams` takes them. */
  readonly params: readonly string[];
  /** How many of them, the first ones, must be there. */
  readonly required: number;
  /** One line for `help`. */
  readonly about: string;
  /** Name of the module that a call concerns, for the audit. */
  moduleOf?(params: string): string;
  /** Gives the result; what it gives can be JSON. */
  answer(params: string, signal: AbortSignal): unknown;
}

/** The methods of the founding document's front door, by name, and `help`. */
export function createHostMethods(parts: HostMethodParts): ReadonlyMap<string, HostMethod> {
  const { control, words } = parts;
  const plainStatus = (status: object): object => words.plain('modhost.admin.v1.ModuleStatus', status);
  const nameIn =
    (names: readonly string[]) =>
    (params: string): string =>
      readParams(params, names).optionalText('name') ?? '';

  const methods = new Map<string, HostMethod>();
  const add = (name: string, method: HostMethod): void => void methods.set(name, method);

  const load = ['name', 'wait'];
  add('loadmodule', {
    params: load,
    required: 1,
    about: 'Starts a module and waits until it is Ready, or with wait = false not at all.',
    moduleOf: nameIn(load),
    async answer(params) {
      const given = readParams(params, load);
      return plainStatus(await control.load(given.text('name'), given.flag('wait', true)));
    },
  });
  const unload = ['name', 'cascade'];
  add('unloadmodule', {
    params: unload,
    required: 1,
    about: 'Stops a module; with cascade = true those that need it as well.',
    moduleOf: nameIn(unload),
    async answer(params) {
      const given = readParams(params, unload);
      const { module, alsoUnloaded } = await control.unload(given.text('name'), given.flag('cascade', false));
      return { module: plainStatus(module), also_unloaded: alsoUnloaded };
    },
  });
  const named = ['name'];
  add('reloadmodule', {
    params: named,
    required: 1,
    about: 'Stops a module and starts it anew from what lies on disk.',
    moduleOf: nameIn(named),
    answer: async (params) => plainStatus(await control.reload(readParams(params, named).text('name'))),
  });
  add('listmodules', {
    params: [],
    required: 0,
    about: 'Gives every module with its state, permissions, containment and use.',
    answer(params) {
      readParams(params, []);
      return control.list().map(plainStatus);
    },
  });
  add('getmoduleclispecs', {
    params: named,
    required: 0,
    about: 'Gives the commands that modules have registered, by the name of their set; or those of one.',
    answer(params) {
      const name = readParams(params, named).optionalText('name') ?? '';
      const specs = control.commands(name).map(({ module, spec }) => {
        return [spec?.name ?? '', { module, ...words.plain('modhost.v1.CliSpec', spec ?? {}) }] as const;
      });
      return Object.fromEntries(specs);
    },
  });
  const run = ['name', 'subcommand', 'args...'];
  add('runmodulecli', {
    params: run,
    required: 2,
    about: 'Runs a command of a module and gives what it printed.',
    moduleOf: nameIn(run),
    async answer(params, signal) {
      const given = readParams(params, run);
      const request = { name: given.text('name'), subcommand: given.text('subcommand'), args: given.words('args') };
      const { stdout, stderr, exitCode } = await control.runCommand(
        { ...request, terminal: false, columns: 0 },
        signal,
      );
      const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
      return { stdout: text(stdout), stderr: text(stderr), exit_code: exitCode };
    },
  });
  const asked = ['command'];
  add('help', {
    params: asked,
    required: 0,
    about: 'Lists what can be called here, or tells about one method.',
    answer(params) {
      const command = readParams(params, asked).optionalText('command');
      return command === undefined ? helpPage(methods, parts) : helpOf(command, methods, parts);
    },
  });
  return methods;
}

/** The method with its parameters, as a line of `help`; those in brackets may be left out. */
function usage(name: string, { params, required }: HostMethod): string {
  return [name, ...params.map((param, place) => (place < required ? param : `[${param}]`))].join(' ');
}

function helpPage(methods: ReadonlyMap<string, HostMethod>, { endpoints, passthrough }: HostMethodParts): string {
  const sections = [['== Host ==', ...[...methods].map(([name, method]) => usage(name, method))]];
  const all = endpoints.endpoints();
  for (const module of [...new Set(all.map((endpoint) => endpoint.module))].sort()) {
    const own = all.filter((endpoint) => endpoint.module === module);
    sections.push([`== ${module} ==`, ...own.map(({ method, description }) => `${method}  ${description}`)]);
  }
  const overrides = endpoints.overrides();
  if (overrides.length > 0) {
    const lines = overrides.map(({ method, module, description }) => `${method}  by ${module}: ${description}`);
    sections.push(['== Answered in place of the node ==', ...lines]);
  }
  const taken = new Set(overrides.map(({ method }) => method));
  const handedOn = passthrough.filter((method) => !taken.has(method));
  if (handedOn.length > 0) sections.push(['== Handed on to the node ==', ...[...handedOn].sort()]);
  return sections.map((lines) => lines.join('\n')).join('\n\n');
}

function helpOf(
  command: string,
  methods: ReadonlyMap<string, HostMethod>,
  { endpoints, passthrough }: HostMethodParts,
): string {
  const own = methods.get(command);
  if (own !== undefined) return `${usage(command, own)}\n\n${own.about}`;
  const override = endpoints.override(command);
  if (override !== undefined) return `${command}\n\n${override.description}\n\nAnswered by ${override.module}.`;
  const endpoint = endpoints.endpoint(command);
  if (endpoint !== undefined) return `${command}\n\n${endpoint.description}\n\nAnswered by ${endpoint.module}.`;
  if (passthrough.includes(command))
    return `${command}\n\nHanded on to the node as it is; the node's own help tells more.`;
  throw new HostError('METHOD_NOT_FOUND', 'help: unknown command');
}
