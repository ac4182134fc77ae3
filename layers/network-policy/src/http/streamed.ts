/** Which messages come as things happen. Pure. */

/** Conversations: their end may wait for something that the reader does first, and nothing may come for as long as nothing happens. */
export const streamed = /^(?:text\/event-stream|application\/(?:x-ndjson|jsonl|json-seq|stream\+json|grpc|connect\+)|multipart\/x-mixed-replace)/i;

/** `fields`: name, value, name, value… */
export const isStreamed = (fields: readonly string[]): boolean => fields.some((value, i) => i % 2 === 1 && streamed.test(value) && fields[i - 1]?.toLowerCase() === 'content-type');
