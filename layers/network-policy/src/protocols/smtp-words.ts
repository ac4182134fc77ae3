/** The words of SMTP (RFC 5321), read strictly: commands, addresses, replies. Pure. */

export interface SmtpCommand {
  /** Capital letters. */
  readonly verb: string;
  /** What follows the verb and one space; '' for nothing. */
  readonly rest: string;
}

/** A command line without its CRLF; undefined where it holds anything but printable ASCII. */
export function readCommand(line: Buffer): SmtpCommand | undefined {
  const text = line.toString('latin1');
  const match = /^([A-Za-z]{3,10})(?: +([\x20-\x7e]*))?$/.exec(text.replace(/ +$/, ''));
  return match === null ? undefined : { verb: (match[1] ?? '').toUpperCase(), rest: match[2] ?? '' };
}

export interface SmtpPath {
  /** Local part as written, domain in small letters; '' for the empty sender. */
  readonly address: string;
  /** Name in capital letters -> value, '' where it has none. */
  readonly parameters: ReadonlyMap<string, string>;
}

const atom = /^[A-Za-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*$/;
const label = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/**
 * `FROM:<a@b> SIZE=1` for MAIL, `TO:<a@b>` for RCPT. Undefined for everything that servers read differently or relay elsewhere:
 * source routes, quoted local parts, `%` and `!` in them, addresses in brackets, names without a domain.
 */
export function readPath(rest: string, word: 'FROM' | 'TO'): SmtpPath | undefined {
  const match = /^([A-Za-z]+): ?<([^<>\s]*)>((?: +[A-Za-z0-9][A-Za-z0-9-]*(?:=[\x21-\x3c\x3e-\x7e]+)?)*)$/.exec(rest);
  if (match === null || match[1]?.toUpperCase() !== word) return undefined;
  const address = readAddress(match[2] ?? '');
  // A server may complete a domain of one word, and so deliver to another; machines send as `root@localhost`.
  if (address === undefined || (word === 'TO' && !address.includes('.', address.lastIndexOf('@') + 1))) return undefined;
  const parameters = new Map<string, string>();
  for (const part of (match[3] ?? '').split(/ +/)) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = (equals < 0 ? part : part.slice(0, equals)).toUpperCase();
    if (parameters.has(name)) return undefined;
    parameters.set(name, equals < 0 ? '' : part.slice(equals + 1));
  }
  return { address, parameters };
}

function readAddress(text: string): string | undefined {
  if (text === '') return '';
  const at = text.lastIndexOf('@');
  const local = text.slice(0, at);
  const domain = text.slice(at + 1).toLowerCase();
  if (at < 1 || local.length > 64 || domain.length > 253 || !atom.test(local)) return undefined;
  const labels = domain.split('.');
  return labels.every((part) => label.test(part)) ? `${local}@${domain}` : undefined;
}

export interface SmtpReply {
  readonly code: number;
  /** The text of each line, printable ASCII. */
  readonly lines: readonly string[];
}

/** Collects the lines of one reply. */
export class ReplyReader {
  #code = 0;
  readonly #lines: string[] = [];

  /** Takes one line without CRLF: the reply once it is whole, `more` before that, `bad` where it is none. */
  take(line: Buffer): SmtpReply | 'more' | 'bad' {
    const match = /^([2-5]\d\d)(?:([ -])(.*))?$/s.exec(line.toString('latin1'));
    if (match === null) return 'bad';
    const code = Number(match[1]);
    if ((this.#lines.length > 0 && code !== this.#code) || this.#lines.length >= 100) return 'bad';
    this.#code = code;
    this.#lines.push(printable(match[3] ?? ''));
    return match[2] === '-' ? 'more' : { code, lines: this.#lines };
  }
}

/** A reply as bytes; text that does not belong into a line is replaced. */
export function writeReply(code: number, lines: readonly string[]): Buffer {
  const shown = lines.length === 0 ? [''] : lines;
  return Buffer.from(shown.map((text, index) => `${code}${index < shown.length - 1 ? '-' : ' '}${printable(text)}\r\n`).join(''), 'latin1');
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 500);
}

/** The extensions of an EHLO reply: keyword in capital letters -> its parameters. */
export function extensionsOf(reply: SmtpReply): ReadonlyMap<string, string> {
  return new Map(reply.lines.slice(1).map((line) => {
    const space = line.search(/[ =]/);
    return space < 0 ? [line.toUpperCase(), ''] : [line.slice(0, space).toUpperCase(), line.slice(space + 1).trim()];
  }));
}

/** A message (lines ended by CRLF) with dots doubled where a line begins with one, and the line that ends it. */
export function stuffed(message: Buffer): Buffer {
  const text = message.toString('latin1').replace(/^\./, '..').replaceAll('\r\n.', '\r\n..');
  return Buffer.from(`${text}${text === '' || text.endsWith('\r\n') ? '' : '\r\n'}.\r\n`, 'latin1');
}
