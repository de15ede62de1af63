import type { Histogram, Metric, MetricLabel } from '../../gen/ts/modhost/v1/metrics.js';
import { HostError } from '../contract/error.js';
import { atMost } from './check.js';

/** Labels of one series. */
const MAX_LABELS = 16;
/** Longest value of a label and longest help, bytes. */
const MAX_TEXT_BYTES = 256;
/** Buckets of one histogram. */
const MAX_BUCKETS = 64;
const METRIC_NAME = /^[a-z][a-z0-9_]{0,127}$/;
const LABEL_NAME = /^[a-z][a-z0-9_]{0,63}$/;
/** What the host and the text form themselves put on a series. */
const RESERVED_LABELS: ReadonlySet<string> = new Set(['module', 'le']);
/** Both forms in which the value is shown are for people: what moves a cursor or ends a line has no place there. */
const CONTROL = /\p{Cc}/u;

/** The value of a series. */
export type MetricValue = NonNullable<Metric['value']>;

/** One reported value that keeps the rules that hold for it alone. */
export interface CheckedMetric {
  readonly name: string;
  /** By ascending name, without empty ones. */
  readonly labels: readonly MetricLabel[];
  readonly value: MetricValue;
  readonly timeUnixMs: bigint;
  readonly help: string;
}

/** @throws FIELD_REQUIRED, INVALID_REQUEST, OUT_OF_RANGE */
export function checkMetric({ name, labels, value, timeUnixMs, help }: Metric): CheckedMetric {
  if (name === '') throw new HostError('FIELD_REQUIRED', 'metrics.name is required');
  if (!METRIC_NAME.test(name)) {
    throw new HostError('INVALID_REQUEST', 'metrics.name must be a letter and at most 127 of a-z, 0-9 and _');
  }
  if (value === undefined) throw new HostError('FIELD_REQUIRED', `${name} has no value`);
  checkText(help, `help of ${name}`);
  return { name, labels: checkLabels(name, labels), value: checkValue(name, value), timeUnixMs, help };
}

function checkLabels(metric: string, labels: readonly MetricLabel[]): MetricLabel[] {
  atMost(labels, MAX_LABELS, `labels of ${metric}`);
  const sorted = [...labels].sort((a, b) => (a.name < b.name ? -1 : 1));
  let before: string | undefined;
  for (const { name, value } of sorted) {
    if (name === '') throw new HostError('FIELD_REQUIRED', `a label of ${metric} has no name`);
    if (!LABEL_NAME.test(name) || RESERVED_LABELS.has(name)) {
      throw new HostError(
        'INVALID_REQUEST',
        `a label of ${metric} must be a letter and at most 63 of a-z, 0-9 and _, and neither module nor le`,
      );
    }
    if (name === before) throw new HostError('INVALID_REQUEST', `${metric} has the label ${name} twice`);
    before = name;
    checkText(value, `label ${name} of ${metric}`);
  }
  return sorted.filter(({ value }) => value !== '');
}

function checkText(text: string, what: string): void {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES || CONTROL.test(text)) {
    throw new HostError('INVALID_REQUEST', `${what}: at most ${MAX_TEXT_BYTES} bytes, no control characters`);
  }
}

function checkValue(name: string, given: MetricValue): MetricValue {
  if (given.$case === 'gauge') requireFinite(given.value, name);
  if (given.$case === 'histogram') checkHistogram(name, given.value);
  return given;
}

function checkHistogram(name: string, { buckets, count, sum }: Histogram): void {
  atMost(buckets, MAX_BUCKETS, `buckets of ${name}`);
  requireFinite(sum, name);
  let bound = Number.NEGATIVE_INFINITY;
  let below = 0n;
  for (const bucket of buckets) {
    requireFinite(bucket.upperBound, name);
    if (bucket.upperBound <= bound) throw new HostError('INVALID_REQUEST', `the bounds of ${name} do not ascend`);
    if (bucket.count < below) throw new HostError('INVALID_REQUEST', `the buckets of ${name} are not cumulative`);
    bound = bucket.upperBound;
    below = bucket.count;
  }
  if (count < below) throw new HostError('INVALID_REQUEST', `the count of ${name} is below that of a bucket`);
}

function requireFinite(value: number, name: string): void {
  if (!Number.isFinite(value)) throw new HostError('OUT_OF_RANGE', `${name} has a value that is not finite`);
}

/** @throws OUT_OF_RANGE when a count goes back, from which nobody could tell how much was added */
export function assertGoesOn(name: string, before: MetricValue, now: MetricValue): void {
  const back =
    (before.$case === 'counter' && now.$case === 'counter' && now.value < before.value) ||
    (before.$case === 'histogram' && now.$case === 'histogram' && now.value.count < before.value.count);
  if (back) {
    throw new HostError('OUT_OF_RANGE', `${name} goes back; a count grows for the life of the session`);
  }
}
