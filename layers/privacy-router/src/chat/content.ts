/** The allow-list for messages of a chat request. URLs that the provider would fetch are collected, to be decided like any request. */
import { denied, malformed } from '../refused.ts';
import { array, boolean, dropped, either, ignore, isObject, never, object, onlyWord, string, type Check } from './check.ts';

const text = string(8 * 1024 * 1024);
const name = string(256);
const cacheControl = ignore(object({ type: onlyWord(['ephemeral'], 'stored_state', 'Leave the field out.'), ttl: string(16) }));
const textPart = object({ type: onlyWord(['text'], 'unknown_part', 'Send text.'), text, cache_control: cacheControl }, ['type', 'text']);
const refusalPart = object({ type: string(16), refusal: text }, ['type', 'refusal']);

/** `data:` URLs carry their bytes; anything else would be fetched by the provider. */
const imageUrl: Check = (value, found) => {
  if (typeof value !== 'string') throw malformed('A URL is expected.');
  if (/^data:image\/[a-z0-9.+-]{1,40};base64,/i.test(value)) return value;
  const url = value.length <= 8192 && URL.canParse(value) ? new URL(value) : undefined;
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.username !== '' || url.password !== '') {
    throw denied('fetch', 'The provider may not fetch this URL.', 'Send the picture itself as a data: URL.');
  }
  found.fetches.push(url);
  return url.href;
};

const image = object({ type: string(32), image_url: object({ url: imageUrl, detail: string(16) }, ['url']), cache_control: cacheControl }, ['type', 'image_url']);
const file = object({
  type: string(32),
  file: object({
    file_data: (value) => {
      if (typeof value === 'string' && /^data:[a-z0-9.+/-]{1,100};base64,/i.test(value)) return value;
      throw denied('fetch', 'A file must be sent as base64 data.', 'Send the file itself as a data: URL.');
    },
    filename: string(256),
    file_id: never('stored_state', 'Files stored at the provider are not allowed.', 'Send the content itself.'),
  }),
});

function partOf(type: unknown): Check {
  if (type === 'text') return textPart;
  return never('unknown_part', 'This kind of content is not allowed.', 'Send text.');
}

const textParts = array(either((value) => partOf(isObject(value) ? value['type'] : undefined)), 10_000);
const textContent = either((value) => (typeof value === 'string' ? text : textParts));
const assistantParts = array(
  either((value) => {
    const type = isObject(value) ? value['type'] : undefined;
    return type === 'refusal' ? refusalPart : partOf(type);
  }),
  10_000,
);
const assistantContent = either((value) => (typeof value === 'string' ? text : assistantParts));

const call = object(
  {
    id: string(512),
    type: onlyWord(['function'], 'provider_tool', 'Only function calls are allowed.'),
    index: () => dropped,
    function: object({ name, arguments: text }, ['name', 'arguments']),
  },
  ['id', 'function'],
);

const noSound = never('audio', 'Sound is not allowed.', 'Send text.');
const assistant = object(
  {
    role: name,
    content: assistantContent,
    name,
    refusal: text,
    reasoning_content: text,
    reasoning: text,
    tool_calls: array(call, 1000),
    annotations: (value) => {
      if (Array.isArray(value) && value.length === 0) return dropped;
      throw denied('unknown_field', 'Annotations are not allowed.', 'Leave the field out.');
    },
    audio: noSound,
    function_call: never('legacy_function', 'The former form of function calls is not allowed.', 'Use tool_calls.'),
  },
  ['role'],
);
const system = object({ role: name, content: textContent, name }, ['role', 'content']);
const tool = object({ role: name, content: textContent, tool_call_id: string(512), name, is_error: ignore(boolean) }, ['role', 'content', 'tool_call_id']);

const userParts = array(
  either((value) => {
    const type = isObject(value) ? value['type'] : undefined;
    if (type === 'image_url') return image;
    if (type === 'file') return file;
    return partOf(type);
  }),
  10_000,
);
const user = object({ role: name, content: either((value) => (typeof value === 'string' ? text : userParts)), name }, ['role', 'content']);

/** One message by its role. */
export const message: Check = (value, found) => {
  switch (isObject(value) ? value['role'] : undefined) {
    case 'system':
    case 'developer':
      return system(value, found);
    case 'user':
      return user(value, found);
    case 'assistant': {
      const clean = assistant(value, found);
      return isObject(clean) && !Object.hasOwn(clean, 'content') ? { ...clean, content: null } : clean;
    }
    case 'tool':
      return tool(value, found);
    default:
      throw denied('unknown_role', 'This role is not allowed.', 'Use system, developer, user, assistant or tool.').inside('role');
  }
};
