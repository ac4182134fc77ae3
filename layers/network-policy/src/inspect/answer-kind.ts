/** What the head and the first bytes of an answer say of whether its bytes can be searched at all. Pure. */
import { isInBase64 } from '../protocols/grpc.ts';
import { charsetsOf, isSearchable } from './charsets.ts';

/** Why an answer cannot be searched, undefined where it can. `valueOf`: all values of a field of its head, '' for none. */
export function unsearchable(contentType: string, valueOf: (name: string) => string): string | undefined {
  if (!charsetsOf(contentType.toLowerCase()).every(isSearchable)) return 'the answer is in a character encoding that is not searched';
  if (isInBase64(contentType)) return 'the answer is a stream in base64, which is not searched';
  return hasEncodedMessages(valueOf) ? 'the messages of the answer are encoded although that was not asked for' : undefined;
}

/** Whether a head says that messages are encoded each by itself. */
export const hasEncodedMessages = (valueOf: (name: string) => string): boolean => ['grpc-encoding', 'connect-content-encoding'].some((name) => !/^\s*(?:identity\s*)?$/i.test(valueOf(name)));

/** Whether these are bytes of something else than text (https://mimesniff.spec.whatwg.org/#binary-data-byte). */
export function isBinary(bytes: Buffer): boolean {
  return bytes.some((byte) => byte <= 0x08 || byte === 0x0b || (byte >= 0x0e && byte <= 0x1a) || (byte >= 0x1c && byte <= 0x1f));
}

/** What has text before its first bytes of another kind, but begins so. */
export const beginsAsDocument = (bytes: Buffer): boolean => bytes.toString('latin1', 0, 5) === '%PDF-';
