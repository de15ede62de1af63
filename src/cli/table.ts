import type { Paint } from './terminal.js';

/** One column of a table for people. */
export interface Column<T> {
  title: string;
  cell: (row: T) => string;
  /** Numbers stand to the right. */
  right?: boolean;
  /** Sets a padded cell off. */
  paint?: (row: T, text: string) => string;
}

/** Lines of a table: titles, then one line per row. */
export function tableLines<T>(rows: readonly T[], columns: readonly Column<T>[], paint: Paint): string[] {
  const cells = rows.map((row) => columns.map(({ cell }) => cell(row)));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((line) => line[i]?.length ?? 0)));
  const pad = (text: string, i: number): string =>
    columns[i]?.right === true ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0);
  const head = columns.map(({ title }, i) => paint('bold', pad(title, i)));
  const body = rows.map((row, r) =>
    columns.map((column, i) => {
      const padded = pad(cells[r]?.[i] ?? '', i);
      return column.paint === undefined ? padded : column.paint(row, padded);
    }),
  );
  return [head, ...body].map((line) => line.join('  ').trimEnd());
}

/** A duration for people: `42s`, `3m 5s`, `2h 10m`, `4d 3h`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = units.findIndex(([count]) => count > 0);
  if (first < 0) return '0s';
  return units
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ');
}
