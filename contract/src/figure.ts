/** One measured figure, as the benchmarks of the rooms print it and `npm run bench` collects it. */

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** Percentiles in `unit` over `n` measurements; a single figure stands in `p50`. */
export interface Figure extends Percentiles {
  readonly unit: string;
  readonly n: number;
  /** The same of something else in the same run, by name. `plain` is the thing itself, without any sandbox. */
  readonly peers?: Readonly<Record<string, Percentiles>>;
}
