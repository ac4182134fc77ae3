/** Test support: a strict reader of Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */

export interface ReadSample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}
export interface ReadMetrics {
  readonly types: ReadonlyMap<string, string>;
  readonly help: ReadonlyMap<string, string>;
  readonly samples: readonly ReadSample[];
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const labelName = /^[a-zA-Z_][a-zA-Z0-9_]*/;

/** Throws Error with the number of the first line that is not as the format says. */
export function readExposition(text: string): ReadMetrics {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line has no end');
  const types = new Map<string, string>();
  const help = new Map<string, string>();
  const samples: ReadSample[] = [];
  const series = new Set<string>();
  const closed = new Set<string>();
  let group = '';
  const enter = (name: string): void => {
    if (name === group) return;
    if (closed.has(name)) throw new Error(`the lines of ${name} do not stand together`);
    if (group !== '') closed.add(group);
    group = name;
  };
  text.split('\n').slice(0, -1).forEach((line, index) => {
    try {
      if (line === '') return;
      const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
      if (line.startsWith('# HELP') || line.startsWith('# TYPE')) {
        const [, kind = '', name = '', rest = ''] = comment ?? [];
        if (!comment) throw new Error('neither HELP nor TYPE of a metric');
        enter(name);
        const into = kind === 'HELP' ? help : types;
        if (into.has(name)) throw new Error(`a second ${kind}`);
        if (samples.some((sample) => sample.name === name)) throw new Error(`${kind} after the first sample`);
        if (kind === 'TYPE' && !['counter', 'gauge', 'histogram', 'summary', 'untyped'].includes(rest)) throw new Error(`no type: ${rest}`);
        if (kind === 'HELP' && /\\(?![\\n])/.test(rest)) throw new Error('a backslash that escapes nothing');
        into.set(name, rest);
        return;
      }
      if (line.startsWith('#')) return;
      const sample = readSample(line);
      enter(sample.name);
      const key = `${sample.name} ${JSON.stringify([...sample.labels].sort())}`;
      if (series.has(key)) throw new Error('this series came before');
      series.add(key);
      samples.push(sample);
    } catch (error) {
      throw new Error(`line ${index + 1}: ${error instanceof Error ? error.message : String(error)}: ${line}`, { cause: error });
    }
  });
  return { types, help, samples };
}

function readSample(line: string): ReadSample {
  const name = metricName.exec(line)?.[0];
  if (name === undefined) throw new Error('no metric name');
  let at = name.length;
  const labels = new Map<string, string>();
  if (line[at] === '{') {
    at += 1;
    while (line[at] !== '}') {
      const label = labelName.exec(line.slice(at))?.[0];
      if (label === undefined || line.slice(at + label.length, at + label.length + 2) !== '="') throw new Error('no label');
      at += label.length + 2;
      let value = '';
      for (; line[at] !== '"'; at += 1) {
        const char = line[at];
        if (char === undefined) throw new Error('a label without an end');
        if (char !== '\\') value += char;
        else {
          at += 1;
          const escaped = line[at];
          if (escaped !== '\\' && escaped !== '"' && escaped !== 'n') throw new Error('a backslash that escapes nothing');
          value += escaped === 'n' ? '\n' : escaped;
        }
      }
      at += 1;
      if (labels.has(label)) throw new Error('a label twice');
      labels.set(label, value);
      if (line[at] === ',') at += 1;
      else if (line[at] !== '}') throw new Error('neither , nor }');
    }
    at += 1;
  }
  const rest = /^ (\S+)$/.exec(line.slice(at))?.[1];
  if (rest === undefined || !/^([+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]Inf|NaN)$/.test(rest)) throw new Error('no value');
  return { name, labels, value: rest === 'NaN' ? Number.NaN : Number(rest.replace('Inf', 'Infinity')) };
}
