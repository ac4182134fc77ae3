/** The line an agent shows while a person is asked, and how it is taken out of the history again. */

const start = 'Waiting for approval of ';
const end = '. Decide with `nemoclaw approvals list`.';

/** `action` and `summary` are one line each. */
export function waitingNotice(action: string, summary: string): string {
  return `${start}${action}: ${summary}${end}`;
}

const notice = /\s*Waiting for approval of [^\n]{1,4000}?\. Decide with `nemoclaw approvals list`\.[ \t]*\n?/g;

/** `text` without such lines. */
export function withoutNotice(text: string): string {
  return text.includes(start) ? text.replace(notice, '') : text;
}
