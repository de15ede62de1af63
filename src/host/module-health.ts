import { type HealthReport, HealthStatus } from '../../gen/ts/modhost/v1/health.js';
import type { Clock } from '../core/clock.js';
import { cutBytes } from '../core/printable.js';
import type { HealthLabelName } from './lifecycle-events.js';

/** Longest word of a module on itself that reasons repeat, bytes. */
const MAX_WORDS_BYTES = 256;
/**
 * Shortest time between two changes of the judgement, milliseconds: a module whose word changes with every report must not
 * fill the queues in which others hear of blocks.
 */
const SHORTEST_JUDGEMENT_MS = 1_000;

/** What a module said of itself, and when. */
export interface DatedReport {
  report: HealthReport;
  timeUnixMs: number;
}

/** One spawn's health: whether it answers, and apart from that what it says of itself. */
export interface ModuleHealth {
  /** The module is Ready: from here on changes are told, the first at once if there is something to tell. */
  open(): void;
  /** It answered a health check; `report` is what it said, if anything. */
  answered(report: HealthReport | undefined): void;
  /** It missed a health check, the `missed`-th in a row of the `limit` that count as hung. */
  missed(missed: number, limit: number): void;
  /** It reported by itself. */
  reported(report: HealthReport): void;
  /** It is hung, or has ended without being asked to. */
  failed(): void;
  /** Health checks missed in a row. */
  missedProbes(): number;
  /** Its own last word; undefined when it has said nothing. */
  report(): DatedReport | undefined;
  /** The host's judgement. */
  label(): HealthLabelName;
  /** What is wrong with it, for people; undefined when nothing is. */
  trouble(): string | undefined;
  /** The spawn is over: nothing is told any more. Idempotent. */
  close(): void;
}

/** What a health is made of. */
export interface ModuleHealthOptions {
  clock: Clock;
  /** Takes the module's secrets out of its own words. Default: there are none. */
  redact?(text: string): string;
  /**
   * Hears of every change of the judgement or of its cause, at most once a second; `before` and `now` may be the same label.
   */
  onChange(before: HealthLabelName, now: HealthLabelName): void;
}

/** Makes the health of a new spawn: nothing is known of it yet, and nothing is told before it is opened. */
export function createModuleHealth({ clock, onChange, redact }: ModuleHealthOptions): ModuleHealth {
  let answers = false;
  let isFailed = false;
  let missed = 0;
  let limit = 0;
  let own: DatedReport | undefined;

  const label = (): HealthLabelName => {
    const status = own?.report.status ?? HealthStatus.UNSPECIFIED;
    if (isFailed || status === HealthStatus.UNHEALTHY) return 'UNHEALTHY';
    if (missed > 0 || status === HealthStatus.DEGRADED) return 'DEGRADED';
    return answers || status === HealthStatus.HEALTHY ? 'HEALTHY' : 'UNKNOWN';
  };
  const trouble = (): string | undefined => {
    if (missed > 0) return `missed ${missed} of ${limit} health checks`;
    const status = own?.report.status;
    if (status !== HealthStatus.DEGRADED && status !== HealthStatus.UNHEALTHY) return undefined;
    const words = cutBytes(own?.report.message ?? '', MAX_WORDS_BYTES);
    const state = status === HealthStatus.DEGRADED ? 'degraded' : 'unhealthy';
    return `reports that it is ${state}${words === '' ? '' : `: ${words}`}`;
  };
  let told: { label: HealthLabelName; trouble: string | undefined } = { label: 'UNKNOWN', trouble: undefined };
  let toldMs = Number.NEGATIVE_INFINITY;
  let later: NodeJS.Timeout | undefined;
  let isOpen = false;
  let isOver = false;

  const tell = (): void => {
    if (!isOpen || isOver) return;
    clearTimeout(later);
    later = undefined;
    const before = told;
    told = { label: label(), trouble: trouble() };
    if (before.label === told.label && before.trouble === told.trouble) return;
    toldMs = clock.monotonicMs();
    onChange(before.label, told.label);
  };
  const change = (): void => {
    if (!isOpen || later !== undefined) return;
    const waitMs = toldMs + SHORTEST_JUDGEMENT_MS - clock.monotonicMs();
    if (waitMs <= 0) tell();
    else later = setTimeout(tell, waitMs);
  };
  const take = (report: HealthReport): void => {
    own = { report: redactedReport(report, redact), timeUnixMs: clock.unixMs() };
  };

  return {
    open() {
      isOpen = true;
      tell();
    },
    answered(report) {
      answers = true;
      missed = 0;
      if (report !== undefined) take(report);
      change();
    },
    missed(count, of) {
      missed = count;
      limit = of;
      change();
    },
    reported(report) {
      take(report);
      change();
    },
    failed() {
      isFailed = true;
      tell();
    },
    missedProbes: () => missed,
    report: () => own,
    label,
    trouble,
    close() {
      isOver = true;
      clearTimeout(later);
    },
  };
}

function redactedReport(report: HealthReport, redact: ((text: string) => string) | undefined): HealthReport {
  if (redact === undefined) return report;
  const checks = report.checks.map((check) => ({ ...check, name: redact(check.name), message: redact(check.message) }));
  return { ...report, message: redact(report.message), checks };
}
