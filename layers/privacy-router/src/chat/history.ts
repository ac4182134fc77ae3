/** Repairs the history an agent sends: refused calls as the model made them, their results explained, our notices removed. */
import type { JsonObject, Recall } from '../dialect.ts';
import { withoutNotice } from '../notice.ts';
import { isObject } from './check.ts';

function cleanContent(content: unknown): unknown {
  if (typeof content === 'string') {
    const clean = withoutNotice(content);
    return clean === '' && content !== '' ? null : clean;
  }
  if (!Array.isArray(content)) return content;
  const parts = content
    .map((part: unknown) => (isObject(part) && typeof part['text'] === 'string' ? { ...part, text: withoutNotice(part['text']) } : part))
    .filter((part: unknown) => !isObject(part) || part['type'] !== 'text' || part['text'] !== '');
  return parts.length === 0 ? null : parts;
}

/** Messages for the provider; the list itself where nothing had to be changed. */
export function restoreChat(messages: readonly JsonObject[], recall: Recall): readonly JsonObject[] {
  /** Call id as the agent writes it -> what its result becomes. */
  const results = new Map<string, string>();
  let changed = false;
  const out = messages.map((message) => {
    if (message['role'] === 'assistant') {
      const content = cleanContent(message['content']);
      const calls = restoreCalls(message['tool_calls'], recall, results);
      if (content === message['content'] && calls === message['tool_calls']) return message;
      const isSame = JSON.stringify(content) === JSON.stringify(message['content']) && calls === message['tool_calls'];
      if (isSame) return message;
      changed = true;
      const hasCalls = Array.isArray(calls) && calls.length > 0;
      return { ...message, content: content ?? (hasCalls ? null : ''), ...(hasCalls ? { tool_calls: calls } : {}) };
    }
    const id = message['tool_call_id'];
    const result = message['role'] === 'tool' && typeof id === 'string' ? results.get(id) : undefined;
    if (result === undefined) return message;
    changed = true;
    return { ...message, content: result };
  });
  return changed ? out : messages;
}

function restoreCalls(calls: unknown, recall: Recall, results: Map<string, string>): unknown {
  if (!Array.isArray(calls)) return calls;
  let changed = false;
  const out = calls.map((call: unknown) => {
    if (!isObject(call) || typeof call['id'] !== 'string' || !isObject(call['function'])) return call;
    const found = recall.original(call['id'], String(call['function']['name']));
    if (!found) return call;
    changed = true;
    results.set(call['id'], found.result);
    return { ...call, function: { name: found.call.name, arguments: found.call.arguments } };
  });
  return changed ? out : calls;
}

/** Ids of all calls in assistant messages. */
export function chatCallIds(messages: readonly JsonObject[]): string[] {
  const ids: string[] = [];
  for (const message of messages) {
    if (message['role'] !== 'assistant' || !Array.isArray(message['tool_calls'])) continue;
    for (const call of message['tool_calls']) if (isObject(call) && typeof call['id'] === 'string') ids.push(call['id']);
  }
  return ids;
}

/** OpenClaw asks again with a note `<turn_aborted>` and an order to continue; a person's new message is not a repeat. */
export function isChatRepeatNote(added: readonly JsonObject[]): boolean {
  return added.length <= 3 && added.every((message) => message['role'] === 'user') && JSON.stringify(added[0]?.['content'] ?? '').includes('<turn_aborted>');
}
