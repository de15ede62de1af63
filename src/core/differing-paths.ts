/** A table of a document: neither array nor date. */
type Table = Readonly<Record<string, unknown>>;

/**
 * Paths at which two documents differ, like `node.kind`, sorted. A table that only one of them has is entered as if the other
 * one's were empty; anything else that differs is named as a whole.
 *
 * @param depth steps of a path at most
 */
export function differingPaths(before: unknown, after: unknown, depth = Number.POSITIVE_INFINITY): string[] {
  const paths: string[] = [];
  const compare = (a: unknown, b: unknown, path: readonly string[]): void => {
    const [left, right] = [tableOf(a), tableOf(b)];
    if (left === undefined || right === undefined || path.length >= depth) {
      if (canonical(a) !== canonical(b)) paths.push(path.join('.'));
      return;
    }
    for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
      compare(own(left, key), own(right, key), [...path, key]);
    }
  };
  compare(before, after, []);
  return paths.sort();
}

function tableOf(value: unknown): Table | undefined {
  if (value === undefined) return {};
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
  return isTable ? (value as Table) : undefined;
}

function own(table: Table, key: string): unknown {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** One text for equal values, whatever the order of their keys; an integer is the same as number and as bigint. */
function canonical(value: unknown): string {
  if (value === undefined) return '';
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return Number(item);
    const table = Array.isArray(item) || item === undefined ? undefined : tableOf(item);
    return table === undefined ? item : Object.fromEntries(Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
