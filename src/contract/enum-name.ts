/** Name of a value of a generated enum, without its prefix; undefined for one that these types do not know. */
export function enumName(values: Readonly<Record<string, number | string>>, value: number): string | undefined {
  return Object.keys(values).find((name) => values[name] === value);
}
