import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Metric } from '../../gen/ts/modhost/v1/metrics.js';

/** Series of one module, by ascending name and labels. */
export interface ReportedSeries {
  readonly module: string;
  readonly metrics: readonly Metric[];
}

/** What modules measure, in Prometheus' text form. */
export interface SeriesText {
  readonly text: string;
  /** Series of each module that are not in the text. */
  readonly hidden: ReadonlyMap<string, number>;
}

/** What a module's own names begin with; no name of the host does. */
const PREFIX = 'modhost_module_';
/**
 * Text of one module's series, characters: a thousand series with labels like everybody's take a tenth of it. With the
 * longest labels and the most buckets they would take 300 MB, at each scrape.
 */
const MAX_MODULE_CHARS = 1024 * 1024;

type Value = NonNullable<Metric['value']>;

interface Family {
  readonly kind: Value['$case'];
  help: string;
  readonly lines: string[];
}

/**
 * Writes the series of all modules. The form wants one kind per name and every sample once, while modules know nothing of
 * each other: the first by module name decides, and what does not go with it is left out and counted.
 */
export async function writeSeries(reported: Iterable<ReportedSeries>): Promise<SeriesText> {
  const families = new Map<string, Family>();
  /** Names of samples that are taken, with the family that they belong to. */
  const taken = new Map<string, string>();
  const hidden = new Map<string, number>();

  const familyOf = (name: string, kind: Value['$case']): Family | undefined => {
    const known = families.get(name);
    if (known !== undefined) return known.kind === kind ? known : undefined;
    const samples = sampleNames(name, kind);
    if (samples.some((sample) => taken.has(sample))) return undefined;
    for (const sample of samples) taken.set(sample, name);
    const family: Family = { kind, help: '', lines: [] };
    families.set(name, family);
    return family;
  };

  for (const { module, metrics } of reported) {
    let room = MAX_MODULE_CHARS;
    for (const metric of metrics) {
      const { value, help } = metric;
      const lines = room > 0 && value !== undefined ? linesOf(module, metric, value) : '';
      const family = value === undefined || lines.length > room ? undefined : familyOf(metric.name, value.$case);
      if (family === undefined || lines === '') {
        hidden.set(module, (hidden.get(module) ?? 0) + 1);
        continue;
      }
      room -= lines.length;
      if (family.help === '') family.help = help;
      family.lines.push(lines);
    }
    // calls get in between two modules
    await nextTurn();
  }
  const text = [...families].map(([name, { kind, help, lines }]) => {
    const full = PREFIX + name;
    const helpLine = help === '' ? '' : `# HELP ${full} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}\n`;
    return `${helpLine}# TYPE ${full} ${kind}\n${lines.join('')}`;
  });
  return { text: text.join(''), hidden };
}

function sampleNames(name: string, kind: Value['$case']): string[] {
  return kind === 'histogram' ? [name, `${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
}

function linesOf(module: string, { name, labels }: Metric, value: Value): string {
  const full = PREFIX + name;
  const inside = [
    `module="${escaped(module)}"`,
    ...labels.map((label) => `${label.name}="${escaped(label.value)}"`),
  ].join(',');
  if (value.$case !== 'histogram') return `${full}{${inside}} ${value.value}\n`;
  const { buckets, count, sum } = value.value;
  return [
    ...buckets.map((bucket) => `${full}_bucket{${inside},le="${bucket.upperBound}"} ${bucket.count}\n`),
    `${full}_bucket{${inside},le="+Inf"} ${count}\n`,
    `${full}_sum{${inside}} ${sum}\n`,
    `${full}_count{${inside}} ${count}\n`,
  ].join('');
}

/** A label's value as the text form writes it. */
function escaped(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}
