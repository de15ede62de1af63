import type { z } from 'zod';
import { capabilityName, PERMISSIONS, permissionFromCapability } from '../contract/permission.js';
import { nearest } from '../core/nearest.js';
import { boolean, field, integer, isTable, list, map, refuse, table, text, word } from './field.js';
import { limitsTable } from './limits-table.js';
import { nameRefusal } from './rules.js';

/** Most modules of one host that a file may name. */
const MAX_MODULES = 1_000;
/** Most entries of one list. */
const MAX_LIST = 256;
/** PATH_MAX of Linux, bytes with the closing NUL. */
const MAX_PATH_CHARS = 4_095;
/** More calls per second than a node and a host on one machine can answer. */
const MAX_CALLS_PER_SECOND = 1_000_000;
/** More workers than any node has. */
const MAX_NODE_CALLS = 64;

const path = () => text('BAD_VALUE', MAX_PATH_CHARS, 'a path without NUL', (value) => !value.includes('\0'));

const permission = () =>
  field((value) => {
    if (typeof value !== 'string') return refuse('BAD_VALUE', 'must be the name of a permission');
    const found = permissionFromCapability(value);
    if (found !== undefined) return found;
    const near = nearest(value, PERMISSIONS.map(capabilityName));
    return refuse('BAD_VALUE', near === undefined ? 'is no permission' : `is no permission; did you mean '${near}'?`);
  });

/** A table that somebody else reads: the node's adapter, or the module's own schema. */
const foreignTable = () => field((value) => (isTable(value) ? value : refuse('BAD_VALUE', 'must be a table')));

const interpreterRefusal = (name: string) =>
  /^[a-z][a-z0-9.+-]{0,31}$/.test(name)
    ? undefined
    : refuse('BAD_VALUE', "must be the short name of an interpreter, like 'python'");

const moduleTable = () =>
  table({
    enabled: boolean().optional(),
    run: word('spawn', 'external').optional(),
    unsigned: boolean().optional(),
    path: path().optional(),
    grants: list(permission(), PERMISSIONS.length).optional(),
    limits: limitsTable().optional(),
    config: foreignTable().optional(),
    extra_read_only: list(path(), MAX_LIST).optional(),
  });

/** Tables and keys of the design that this version does not act on: accepting them would be a promise not kept. */
export const NOT_YET_SERVED: readonly (readonly string[])[] = [
  ['network'],
  ['registry'],
  ['providers'],
  ['trust'],
  ['modules', '*', 'secrets'],
  ['modules', '*', 'version'],
];

/** The grammar of the operator's file, table by table. */
export function operatorSchema() {
  return table({
    node: foreignTable().optional(),
    paths: table({
      modules: path().optional(),
      data: path().optional(),
      sockets: path().optional(),
    }).optional(),
    sandbox: table({ minimum: word('bubblewrap', 'none').optional() }).optional(),
    limits: limitsTable().optional(),
    calls: table({
      per_second: integer('BAD_VALUE', 1, MAX_CALLS_PER_SECOND).optional(),
      node_in_flight: integer('BAD_VALUE', 1, MAX_NODE_CALLS).optional(),
    }).optional(),
    interpreters: map(interpreterRefusal, path(), MAX_LIST).optional(),
    log: table({
      level: word('trace', 'debug', 'info', 'warn', 'error').optional(),
      format: word('auto', 'json', 'pretty').optional(),
    }).optional(),
    modules: map(nameRefusal, moduleTable(), MAX_MODULES).optional(),
  });
}

/** What the schema makes of a file. */
export type OperatorDocument = z.output<ReturnType<typeof operatorSchema>>;
