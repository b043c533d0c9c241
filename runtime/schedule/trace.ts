/** A stretch of time on a track, in milliseconds of performance.now(). */
export interface Span {
  /** `queries`, `host`, `upload`, `read-back`, or `lane N` with its operators on `lane N operators`. */
  readonly track: string;
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly args?: Readonly<Record<string, string | number>>;
}

/** Takes what the scheduler did. Where one is given, dispatches run apart and are timed: slower, and seen. */
export interface TraceSink {
  span(span: Span): void;
}
