/** The API path of a sandbox. */

/** `/v1/sandboxes/<name><rest>`; the name is encoded, whatever it is. */
export function sandboxPath(name: string, rest = ''): string {
  return `/v1/sandboxes/${encodeURIComponent(name)}${rest}`;
}
