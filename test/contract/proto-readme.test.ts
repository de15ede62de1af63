import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DescEnum } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { createContractRegistry, packageRoot } from '../../src/contract/descriptors.js';
import { readErrorTable } from '../../src/contract/error-table.js';
import { readMethods } from '../../src/contract/methods.js';
import { capabilityName, PERMISSIONS } from '../../src/contract/permission.js';
import { parseManifest } from '../../src/manifest/parse.js';

const README = join(packageRoot(), 'proto', 'README.md');
const registry = createContractRegistry();

/** With UPDATE_README=1 the tables are written instead of compared. */
const UPDATE = process.env.UPDATE_README === '1';

describe('proto/README.md', () => {
  it('has the permission table of the contract, no row more or less', () => {
    holds('permissions', permissionTable());
  });

  it('has the error table of the contract, no row more or less', () => {
    holds('errors', errorTable());
  });

  it('names only rpcs, messages and fields that exist', () => {
    const names = new Set<string>();
    for (const type of registry) {
      names.add(type.name);
      if (type.kind === 'service') for (const method of type.methods) names.add(`${type.name}.${method.name}`);
      if (type.kind === 'message') for (const field of type.fields) names.add(`${type.name}.${field.name}`);
    }
    const used = [
      ...readFileSync(README, 'utf8').matchAll(/`((?:[A-Z][a-z]+)+(?:Service|Context|Limits|Request)\.\w+)`/g),
    ];
    expect(used.map(([, name]) => name).filter((name) => !names.has(name ?? ''))).toEqual([]);
    expect(used.length).toBeGreaterThan(0);
  });

  it('shows a manifest that loads', () => {
    const toml = /```toml\n([\s\S]*?)```/.exec(readFileSync(README, 'utf8'))?.[1] ?? '';
    expect(parseManifest(new TextEncoder().encode(toml))).toMatchObject({ name: 'watch', version: '1.2.3' });
  });
});

/** Compares the lines between two markers with what the contract says, or writes them. */
function holds(section: string, table: string): void {
  const text = readFileSync(README, 'utf8');
  const [, before, inside, after] =
    new RegExp(`^([\\s\\S]*<!-- ${section}:[^\\n]*-->\\n)([\\s\\S]*)(<!-- /${section} -->[\\s\\S]*)$`).exec(text) ?? [];
  if (before === undefined || inside === undefined || after === undefined) throw new Error(`no section ${section}`);
  if (UPDATE) writeFileSync(README, before + table + after);
  else expect(inside).toBe(table);
}

function permissionTable(): string {
  const type = registry.getEnum('modhost.v1.Permission');
  const methods = [...readMethods(registry).values()];
  const rows = PERMISSIONS.map((permission) => {
    const rpcs = methods.filter((method) => method.permission === permission);
    const byService = new Map<string, string[]>();
    for (const { service, name } of rpcs) byService.set(service, [...(byService.get(service) ?? []), name]);
    const list = [...byService].map(([service, of]) => `${shortName(service)}: ${of.join(', ')}`);
    return [`\`${capabilityName(permission)}\``, comment(type, `PERMISSION_${permission}`), list.join('; ')];
  });
  return render(['capability', 'allows', 'rpcs'], rows);
}

function errorTable(): string {
  const type = registry.getEnum('modhost.v1.ErrorReason');
  const rows = [...readErrorTable(registry)].map(([reason, { code, recovery }]) => [
    `\`${reason}\``,
    status[code] ?? '',
    {
      FIX_CALL: 'fix the call',
      RETRY: 'retry',
      ASK_OPERATOR: 'ask the operator',
      CHANGE_STATE: 'change the state',
      REPORT: 'report',
    }[recovery],
    comment(type, `ERROR_REASON_${reason}`),
  ]);
  return render(['reason', 'code', 'recovery', 'meaning'], rows);
}

/** The comment above an enum value, on one line: enums are field 5 of a file, values field 2 of an enum (descriptor.proto). */
function comment(type: DescEnum | undefined, value: string): string {
  const proto = type?.file.proto;
  const index = type?.proto.value.findIndex(({ name }) => name === value) ?? -1;
  const path = [5, type === undefined ? -1 : (proto?.enumType.indexOf(type.proto) ?? -1), 2, index].join();
  const location = proto?.sourceCodeInfo?.location.find((place) => place.path.join() === path);
  return (location?.leadingComments ?? '')
    .trim()
    .replace(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|');
}

function shortName(service: string): string {
  return service.slice(service.lastIndexOf('.') + 1).replace(/Service$/, '');
}

function render(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return `\n${lines.join('\n')}\n\n`;
}
