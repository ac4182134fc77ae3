/** Fields of a head as a list: name, value, name, value… `name`s that are looked for are in lower case. Pure, but for `dropField`. */

/** The first value of a field, '' where there is none. */
export function valueOf(fields: readonly string[], name: string): string {
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i]?.toLowerCase() === name) return fields[i + 1] ?? '';
  return '';
}

/** All values of a field: two lines of it are one list. */
export function valuesOf(fields: readonly string[], name: string): string[] {
  return fields.filter((_, i) => i % 2 === 1 && fields[i - 1]?.toLowerCase() === name);
}

/** Takes all lines of a field out of `fields`. */
export function dropField(fields: string[], name: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) if (fields[i]?.toLowerCase() === name) fields.splice(i, 2);
}
