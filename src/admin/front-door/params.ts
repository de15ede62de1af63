import { HostError } from '../../contract/error.js';
import { jsonItems, jsonKind, jsonMembers, jsonSpan } from '../../core/json-text.js';

/** Parameters of one call by name, each as JSON text. */
export interface NamedParams {
  /** A text that must be there. @throws INVALID_REQUEST */
  text(name: string): string;
  /** A text that may be left out. @throws INVALID_REQUEST when it is there and no text */
  optionalText(name: string): string | undefined;
  /** A switch that may be left out. @throws INVALID_REQUEST when it is there and neither true nor false */
  flag(name: string, preset: boolean): boolean;
  /** Words behind the named ones, or those of a list of this name; numbers as they were written. @throws INVALID_REQUEST */
  words(name: string): string[];
}

/**
 * Reads the parameters of a method of the host's own, by place or by name, as Bitcoin Core takes both.
 *
 * @param params JSON text of an array or object; empty when there were none
 * @param names  in their order; the last may be a list, marked by a trailing `...`
 * @throws HostError INVALID_REQUEST for one too many and for a name that is not known
 */
export function readParams(params: string, names: readonly string[]): NamedParams {
  const given = new Map<string, string>();
  const rest: string[] = [];
  const list = names.at(-1)?.endsWith('...') === true ? names.at(-1)?.slice(0, -3) : undefined;
  const single = list === undefined ? names : names.slice(0, -1);
  if (params !== '') {
    const whole = jsonSpan(params);
    if (jsonKind(params, whole.start) === 'array') {
      for (const [place, { start, end }] of jsonItems(params, whole).entries()) {
        const text = params.slice(start, end);
        const name = single[place];
        if (name !== undefined) given.set(name, text);
        else if (list !== undefined) rest.push(text);
        else throw wrong(`at most ${single.length} parameters: ${names.join(', ')}`);
      }
    } else {
      for (const [name, { start, end }] of jsonMembers(params, whole)) {
        if (!single.includes(name) && name !== list) throw wrong(`no parameter ${name}; there are ${names.join(', ')}`);
        if (given.has(name)) throw wrong(`${name} stands there twice`);
        given.set(name, params.slice(start, end));
      }
    }
  }
  const textAt = (name: string): string | undefined => {
    const value = given.get(name);
    return value === 'null' ? undefined : value;
  };
  const optionalText = (name: string): string | undefined => {
    const value = textAt(name);
    if (value === undefined) return undefined;
    if (jsonKind(value) !== 'string') throw wrong(`${name} must be a text`);
    return JSON.parse(value) as string;
  };
  return {
    optionalText,
    text(name) {
      const value = optionalText(name);
      if (value === undefined || value === '') throw wrong(`${name} is required: ${names.join(', ')}`);
      return value;
    },
    flag(name, preset) {
      const value = textAt(name);
      if (value === undefined) return preset;
      if (jsonKind(value) !== 'boolean') throw wrong(`${name} must be true or false`);
      return value === 'true';
    },
    words(name) {
      const written = textAt(name);
      if (written === undefined) return rest.map(wordOf);
      if (jsonKind(written) !== 'array') throw wrong(`${name} must be a list`);
      return jsonItems(written, jsonSpan(written)).map(({ start, end }) => wordOf(written.slice(start, end)));
    },
  };
}

/** One word of a command line. */
function wordOf(value: string): string {
  switch (jsonKind(value)) {
    case 'string':
      return JSON.parse(value) as string;
    case 'number':
    case 'boolean':
      return value;
    default:
      throw wrong('each argument must be a text, a number, true or false');
  }
}

function wrong(message: string): HostError {
  return new HostError('INVALID_REQUEST', message);
}
