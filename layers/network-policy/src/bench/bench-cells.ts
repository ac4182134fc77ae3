/** The cells of the benchmark table and their names; no work is done here, so that whoever lists figures can read them. */
export const sizes = { '1k': 1024, '100k': 100 * 1024, '1m': 1 << 20 } as const;
const connections = [1, 32, 256] as const;

export interface Cell {
  /** `proxy.table.http1.kept.1k.32`; `.rate` and `.cpu` are figures of the same cell. */
  readonly name: string;
  readonly version: 'http1' | 'http2';
  /** `kept`: many requests on each connection; `new`: each on its own. */
  readonly connection: 'kept' | 'new';
  readonly size: keyof typeof sizes;
  /** At once. */
  readonly connections: number;
}

/** In an order that lets cells of one number of kept connections share them. */
export const cells: readonly Cell[] = (['http1', 'http2'] as const).flatMap((version) =>
  (['kept', 'new'] as const).flatMap((connection) =>
    connections.flatMap((count) => (Object.keys(sizes) as (keyof typeof sizes)[]).map((size): Cell => ({ name: `proxy.table.${version}.${connection}.${size}.${count}`, version, connection, size, connections: count }))),
  ),
);

/** What a short run looks at. */
const corners = new Set(['http1.kept.1k.1', 'http1.kept.1k.32', 'http1.kept.1m.32', 'http1.new.1k.32', 'http2.kept.1k.32', 'http2.kept.1m.32']);
export const quickCells: readonly Cell[] = cells.filter(({ name }) => corners.has(name.slice('proxy.table.'.length)));

/** The names of all figures of these cells. */
export const figuresOf = (some: readonly Cell[]): readonly string[] => some.flatMap(({ name }) => [name, `${name}.rate`, `${name}.cpu`]);
