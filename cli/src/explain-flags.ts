/** Flags and examples of `policy explain`, for both grammars. */
import { text } from './command.ts';

/** Flags of `policy explain`, said once for both grammars. */
export function explainFlags() {
  return {
    tool: text('A tool call of the model', 'name'),
    args: text('Arguments of the tool or parameters of the action, as JSON', 'json'),
    url: text('An HTTP request', 'url'),
    method: text('Its method (default GET)', 'verb'),
    headers: text('Its headers, as JSON: {"x-tenant":"acme"}', 'json'),
    body: text('Its body, as JSON', 'json'),
    message: text('What is said inside, as JSON: {"protocol":"mcp","method":"tools/call","tool":"search"}', 'json'),
    connect: text('A connection', 'host:port'),
    event: text('What was decided: the number of an event, or the event id of a denial', 'id'),
    action: text('An action of the catalogue', 'name'),
    file: text('A file of the sandbox', 'path'),
    op: text('What is done with it: read (default), write, create, mkdir, delete, rename, link, truncate, chmod, exec, connect', 'operation'),
    to: text('The new name, with --op rename or link', 'path'),
  };
}
export function explainExamples(): string {
  return [
    'nemoclaw policy explain my-assistant --tool email_send --args \'{"to":"a@b.example"}\'',
    'nemoclaw policy explain my-assistant --url https://api.example.com/v1/x --method POST',
    'nemoclaw policy explain my-assistant --file /workspace/notes --op delete',
    'nemoclaw my-assistant policy explain --connect smtp.company.com:587',
    'nemoclaw my-assistant policy explain --event 1042',
  ].join('\n');
}
