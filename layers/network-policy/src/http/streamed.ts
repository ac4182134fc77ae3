/** Which messages come as things happen. Pure. */
import { valuesOf } from './fields.ts';

/** Conversations: their end may wait for something that the reader does first, and nothing may come for as long as nothing happens. */
export const streamed = /^(?:text\/event-stream|application\/(?:x-ndjson|jsonl|json-seq|stream\+json|grpc|connect\+)|multipart\/x-mixed-replace)/i;

/** `fields`: name, value, name, value… */
export const isStreamed = (fields: readonly string[]): boolean => valuesOf(fields, 'content-type').some((type) => streamed.test(type));
