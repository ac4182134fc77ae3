/** A denial as a page for people: what a browser shows in place of the site. Pure. */
import { valuesOf } from '../http/fields.ts';

/** Whether the client reads pages, and did not ask for JSON. `rawHeaders`: name, value, name, value… */
export function wantsPage(rawHeaders: readonly string[]): boolean {
  const accept = valuesOf(rawHeaders, 'accept').join(',').toLowerCase();
  return accept.includes('text/html') && !accept.includes('application/json');
}

const escaped = (value: unknown): string => (typeof value === 'string' ? value : '').slice(0, 2000).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** The fields of a denial's JSON as HTML; it loads nothing and runs nothing. */
export function denialPage(body: Readonly<Record<string, unknown>>): string {
  const row = (name: string, value: unknown): string => (typeof value === 'string' && value !== '' ? `<dt>${name}</dt><dd>${escaped(value)}</dd>` : '');
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Not allowed</title><meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}dt{font-weight:600;margin-top:1rem}dd{margin:0;overflow-wrap:anywhere}</style></head>
<body><h1>The sandbox’s policy does not allow this</h1><dl>${row('Reason', body['reason'])}${row('Rule', body['rule'])}${row('What to do', body['hint'])}${row('Approval', body['approvalId'])}${row('Event', body['eventId'])}</dl></body></html>
`;
}
