/** What a filter must know of one processor architecture. */
export interface Architecture {
  /** AUDIT_ARCH_* of linux/audit.h: the same number means another call on another architecture. */
  readonly audit: number;
  /** Numbers of the calls that the filter names. A call that the architecture never had is absent. */
  readonly numbers: ReadonlyMap<string, number>;
  /** First and last number of ranges that belong to no call of this architecture, or to none that we know. */
  readonly gaps: readonly (readonly [number, number])[];
  /** The highest number that is let through at all; what later kernels add is unknown, and refused until it is judged. */
  readonly newest: number;
}
