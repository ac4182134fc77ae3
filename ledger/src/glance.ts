/** What a reader needs of a line without parsing all of it: canonical order puts it at known places. */
import { parseRecord } from './chain.ts';

export interface Glance {
  readonly sequence: number;
  readonly sandbox: string;
  readonly source: { readonly name: string; readonly run: string; readonly seq: number };
}

// `unmapped` is the last key of a record and these are its last ones; a quote inside a string is escaped, so text cannot imitate them.
const end = /"sandbox":"([^"\\]{0,256})","source":\{"name":"([^"\\]{0,128})","run":"([^"\\]{0,128})","seq":(\d{1,16})\}(?:,"verdict":"[a-z]+")?\}\}$/;
const mark = '"sequence":';

/** Place, sandbox and source of a record line, or undefined where it is none. */
export function glance(line: string): Glance | undefined {
  const match = line.startsWith('{"ac') ? end.exec(line.slice(-720)) : null;
  const at = line.indexOf(mark);
  const sequence = Number.parseInt(line.slice(at + mark.length, at + mark.length + 17), 10);
  if (match && at > 0 && sequence > 0) {
    return { sequence, sandbox: match[1] ?? '', source: { name: match[2] ?? '', run: match[3] ?? '', seq: Number(match[4]) } };
  }
  try {
    const record = parseRecord(line);
    return { sequence: record.metadata.sequence, sandbox: record.unmapped.sandbox, source: record.unmapped.source };
  } catch {
    return undefined;
  }
}
