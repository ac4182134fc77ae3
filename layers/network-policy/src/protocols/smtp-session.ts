/** Our server side of SMTP towards the sandbox: reads strictly, has each recipient decided, and sends on only whole messages that passed. */
import { hash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Decision } from '@nemoclaw/contract';
import { redactForCard, shownOnCards } from '@nemoclaw/detect';
import { safeBlock } from '@nemoclaw/contract';
import type { TlsContexts } from '../tls/contexts.ts';
import { maskCredentials } from '../credentials/credentials.ts';
import type { Core } from '../core.ts';
import type { Place } from '../http/request-check.ts';
import { actionFor, strictest, type Found } from '../inspect/findings.ts';
import { valuesOf } from '../inspect/inspect-values.ts';
import { asked as askedAboutFinding, blocked, recordFound, settingsOf } from '../inspect/report.ts';
import { ByteReader, ReadEnded } from './byte-reader.ts';
import { Conversation, countsInName } from './conversation.ts';
import { readMessage } from './smtp-message.ts';
import { authenticate, isMechanism, mechanisms, readBase64 } from './smtp-auth.ts';
import { SmtpUpstream } from './smtp-upstream.ts';
import { readCommand, readPath, writeReply } from './smtp-words.ts';
import type { SmtpCommand, SmtpReply } from './smtp-words.ts';

export interface SmtpOptions {
  readonly core: Core;
  readonly contexts: TlsContexts;
  readonly place: Place;
  readonly client: Socket;
  readonly starttls: 'required' | 'allowed';
}

const idleMs = 300_000;
const lineLimit = 12_288;
const messageLimit = 10 << 20;
const recipientLimit = 100;
const mistakesLimit = 10;
/** Of a client: machines are called `my_laptop`, too, and their names may end with a dot. */
const name = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,250}[A-Za-z0-9])?\.?|\[[A-Za-z0-9.:]{1,60}\])$/;
const silent: Buffer = Buffer.alloc(0);

export class SmtpSession extends Conversation {
  readonly #options: SmtpOptions;
  #client: Socket;
  #reader: ByteReader;
  #secure: boolean;
  #up: SmtpUpstream | undefined;
  #authenticated = false;
  #sender: string | undefined;
  #recipients: string[] = [];
  #mistakes = 0;
  #left = false;

  constructor(options: SmtpOptions) {
    super(options.core, options.place);
    this.#options = options;
    this.#client = options.client;
    this.#secure = options.place.tls;
    this.#reader = new ByteReader(options.client, idleMs);
  }

  protected override async talk(): Promise<void> {
    const opened = this.judge({ protocol: 'smtp', recipients: [], tls: this.#secure });
    const { decision } = opened;
    this.runs('', opened, true);
    if (decision.verdict === 'deny') {
      this.record('deny', 'denied', decision);
      this.#send(554, denialLines(decision, this.about.correlation));
      return;
    }
    this.record('allow', 'mail conversation', decision);
    this.#send(220, ['nemoclaw ESMTP']);
    while (!this.#left && !this.over) {
      let line: Buffer;
      try {
        line = await this.#reader.line(lineLimit);
      } catch (error) {
        if (!(error instanceof ReadEnded)) throw error;
        this.#send(421, [`4.4.2 ${error.message}`]);
        return;
      }
      const command = readCommand(line);
      if (command === undefined) this.#mistake(500, '5.5.2 This is not a command.');
      else await this.#obey(command);
    }
  }

  protected override refuse(decision: Decision): void {
    this.#send(421, denialLines(decision, this.about.correlation));
  }

  protected override readAhead(): () => void {
    return this.#reader.ahead();
  }

  protected override close(): void {
    this.#reader.detach();
    this.#up?.close();
    this.#client.destroySoon();
  }

  async #obey({ verb, rest }: SmtpCommand): Promise<void> {
    switch (verb) {
      case 'EHLO': case 'HELO': return this.#hello(verb, rest);
      case 'STARTTLS': return this.#startTls(rest);
      case 'AUTH': return this.#auth(rest);
      case 'MAIL': return this.#mail(rest);
      case 'RCPT': return this.#recipient(rest);
      case 'DATA': return this.#data(rest);
      case 'RSET':
        await this.#up?.say('RSET');
        this.#reset();
        return this.#send(250, ['2.0.0 Ok']);
      case 'NOOP': return this.#send(250, ['2.0.0 Ok']);
      case 'VRFY': return this.#send(252, ['2.5.0 Send some mail to find out.']);
      case 'QUIT':
        this.#left = true;
        return this.#send(221, ['2.0.0 Bye']);
      // What follows these are not commands, so that nothing after them can be read.
      case 'BDAT': case 'GET': case 'POST': case 'PUT':
        this.#left = true;
        return this.#send(521, [`5.5.1 ${verb} is not served here.`]);
      default: return this.#mistake(502, '5.5.1 This command is not served here.');
    }
  }

  async #hello(verb: string, rest: string): Promise<void> {
    if (!name.test(rest.trim())) return this.#mistake(501, '5.5.4 Say your name.');
    if (await this.#leaks(rest.trim(), countsInName)) return;
    this.#reset();
    if (!this.#up) {
      const { name: host, port, tls } = this.place;
      this.#up = await SmtpUpstream.open(this.core.ports.upstreams, { host, port, implicit: tls, starttls: this.#options.starttls, replyMs: idleMs }, rest.trim());
      this.#up.onClose(() => this.end());
      if (this.over) this.#up.close();
    } else await this.#up.say('RSET');
    if (verb === 'HELO') return this.#send(250, ['nemoclaw']);
    const offered = (this.#up.extensions.get('AUTH') ?? '').toUpperCase().split(/\s+/);
    const auth = mechanisms.filter((one) => offered.includes(one));
    const size = Math.min(messageLimit, Number(this.#up.extensions.get('SIZE') ?? 0) || messageLimit);
    const lines = ['nemoclaw', `SIZE ${size}`, ...(this.#up.extensions.has('8BITMIME') ? ['8BITMIME'] : []), 'ENHANCEDSTATUSCODES'];
    if (auth.length > 0 && this.#up.secure) lines.push(`AUTH ${auth.join(' ')}`);
    if (!this.#secure) lines.push('STARTTLS');
    this.#send(250, lines);
  }

  async #startTls(rest: string): Promise<void> {
    if (rest !== '' || this.#secure) return this.#mistake(503, '5.5.1 Not now.');
    // What is already here was sent in the clear, and would be taken for a part of the encrypted conversation.
    if (this.#reader.waiting > 0) {
      this.#left = true;
      this.record('deny', 'commands were sent ahead of the answer to STARTTLS', this.refusal('proxy.smtp-injection', 'Commands were sent ahead of the answer to STARTTLS.', ''));
      return this.#send(501, ['5.5.1 Commands were sent ahead of the answer to STARTTLS.']);
    }
    this.#send(220, ['2.0.0 Go ahead']);
    this.#reader.detach();
    const tls = await this.encrypt(this.#client, this.#options.contexts);
    this.#client = tls;
    tls.once('close', () => this.end());
    this.#reader = new ByteReader(tls, idleMs);
    this.#secure = true;
    this.#reset();
    // What was said before it is forgotten on both sides (RFC 3207, 4.2).
    await this.#up?.say('RSET');
  }

  async #auth(rest: string): Promise<void> {
    const up = this.#up;
    const [mechanism = '', initial, more] = rest.split(' ');
    const upper = mechanism.toUpperCase();
    if (!up || this.#authenticated || this.#sender !== undefined || more !== undefined) return this.#mistake(503, '5.5.1 Not now.');
    if (!isMechanism(upper)) return this.#mistake(504, '5.5.4 This mechanism is not served here.');
    if (!up.secure) return this.#mistake(538, '5.7.11 The way to the server is not encrypted.');
    const first = initial === undefined ? undefined : readBase64(initial);
    if (initial !== undefined && first === undefined) return this.#mistake(501, '5.5.2 This is not base64.');
    const ask = async (prompt: string): Promise<Buffer | undefined> => {
      this.#send(334, [prompt]);
      return readBase64((await this.#reader.line(lineLimit)).toString('latin1'));
    };
    const result = await authenticate(upper, first, ask, up, { host: this.place.name, port: this.place.port, credentials: this.core.config.credentials, confidential: up.secure, refuses: (texts) => this.stopInLogin(texts) });
    if (this.over) return;
    if (result === 'bad') return this.#mistake(501, '5.5.2 This is not an answer to the mechanism.');
    if (result === 'misplaced') {
      const decision = this.refusal('credentials.binding', 'A credential placeholder stands in AUTH of a host that it is not bound to.', 'Use the placeholder only for the host it was given for.');
      this.record('deny', 'a credential placeholder is out of place', decision);
      return this.#send(535, denialLines(decision, this.about.correlation));
    }
    if ('decision' in result) {
      this.record('deny', result.message, result.decision);
      return this.#send(535, denialLines(result.decision, this.about.correlation));
    }
    this.#authenticated = result.code === 235;
    this.#pass(result);
  }

  async #mail(rest: string): Promise<void> {
    const up = this.#up;
    if (!up || this.#sender !== undefined) return this.#mistake(503, '5.5.1 Not now.');
    const path = readPath(rest, 'FROM');
    if (!path) return this.#mistake(553, '5.1.7 This sender is not a plain address.');
    const words = [`MAIL FROM:<${path.address}>`];
    for (const [key, value] of path.parameters) {
      if (key === 'SIZE' && /^\d{1,12}$/.test(value)) {
        if (Number(value) > messageLimit) return this.#send(552, ['5.3.4 The message is too large.']);
      } else if (key === 'BODY' && /^(7BIT|8BITMIME)$/i.test(value)) {
        if (up.extensions.has('8BITMIME')) words.push(`BODY=${value.toUpperCase()}`);
      } else if (key !== 'AUTH' || value !== '<>') return this.#mistake(555, '5.5.4 A parameter is not served here.');
    }
    if (await this.#leaks(path.address, this.#countsNow)) return;
    const reply = await up.say(words.join(' '));
    if (reply.code === 250) this.#sender = path.address;
    this.#pass(reply);
  }

  async #recipient(rest: string): Promise<void> {
    const up = this.#up;
    if (!up || this.#sender === undefined) return this.#mistake(503, '5.5.1 Not now.');
    const path = readPath(rest, 'TO');
    if (!path || path.parameters.size > 0) return this.#mistake(553, '5.1.3 This recipient is not a plain address without parameters.');
    if (this.#recipients.length >= recipientLimit) return this.#send(452, ['4.5.3 Too many recipients.']);
    if (await this.#leaks(path.address, this.#countsNow)) return;
    // Alone, so that the refusal of one is not the refusal of all; together they are decided with the message.
    const judged = this.judge({ protocol: 'smtp', recipients: [path.address], tls: up.secure }, mailFacts(this.#sender, [path.address]));
    const { decision } = judged;
    if (decision.verdict === 'deny') {
      this.record('deny', 'a recipient is denied', decision, { recipient: path.address });
      return this.#send(550, denialLines(decision, this.about.correlation));
    }
    const reply = await up.say(`RCPT TO:<${path.address}>`);
    if (reply.code === 250 || reply.code === 251) {
      this.#recipients.push(path.address);
      this.runs(`to ${path.address}`, judged, true);
    }
    this.#pass(reply);
  }

  async #data(rest: string): Promise<void> {
    const up = this.#up;
    const sender = this.#sender;
    if (!up || sender === undefined || this.#recipients.length === 0 || rest !== '') return this.#mistake(503, '5.5.1 Not now.');
    this.#send(354, ['End with a dot on a line of its own.']);
    const read = await readMessage(this.#reader, messageLimit, this.core);
    if (typeof read === 'string') {
      this.record('deny', read, this.refusal('proxy.smtp-message', `${read}.`, 'End every line with CR LF.'));
      this.#left = true;
      return this.#send(554, [`5.6.0 ${read}`]);
    }
    try {
      await this.#judgeMessage(up, sender, read.message);
    } finally {
      read.release();
      this.#reset();
    }
  }

  async #judgeMessage(up: SmtpUpstream, sender: string, message: Buffer): Promise<void> {
    const recipients = [...this.#recipients];
    const refuse = async (code: number, decision: Decision, why: string, approvalId = ''): Promise<void> => {
      this.record('deny', why, decision, { recipients, ...(approvalId === '' ? {} : { approvalId }) });
      await up.say('RSET');
      this.#send(code, [...denialLines(decision, this.about.correlation), ...(approvalId === '' ? [] : [`approval ${approvalId}`])]);
    };
    const inspected = await this.#inspect(message, sender, recipients);
    if (this.over) return;
    if ('decision' in inspected) return refuse(550, inspected.decision, inspected.why);
    const params = new Map([...mailFacts(sender, recipients), ['bodyHash', hash('sha256', inspected.message, 'hex')]]);
    const decided = this.judge({ protocol: 'smtp', recipients, tls: up.secure }, params);
    const judged = decided.decision.verdict === 'allow' && inspected.escalate ? { ...decided, decision: inspected.escalate } : decided;
    if (judged.decision.verdict === 'deny') return refuse(550, judged.decision, 'denied');
    if (judged.decision.verdict === 'escalate') {
      const shown = `From: <${sender}>\nTo: ${recipients.map((one) => `<${one}>`).join(', ')}\n\n${this.core.pace.measure(inspected.shown)}`;
      const asked = await this.ask(judged, `send mail by ${this.where} to ${recipients.join(', ')}`, safeBlock(shown, 70_000));
      if (this.over) return;
      if (asked.verdict === 'waiting') return refuse(451, { ...asked.decision, hint: 'Send the identical message again later; it passes once after approval.' }, 'still waiting for approval', asked.approvalId);
      if (asked.verdict === 'deny') return refuse(550, asked.decision, 'not approved', asked.approvalId);
    }
    const over = this.overRate({ protocol: 'smtp', recipients, tls: up.secure });
    if (over) return refuse(451, over, 'over the rate of its rule');
    if (judged.decision.verdict === 'allow') this.record('allow', 'mail', judged.decision, { recipients });
    this.core.counts.allowed += 1;
    this.runs('mail', judged, true);
    const reply = await up.data(inspected.message);
    this.core.counts.bytesOut += inspected.message.length;
    this.#pass(reply);
    // A server that refused DATA itself still has sender and recipients.
    if (reply.code >= 300 && reply.code !== 421) await up.say('RSET');
  }

  /** By its classes: refused, rewritten, asked about or put on record. */
  async #inspect(message: Buffer, sender: string, recipients: readonly string[]): Promise<{ readonly message: Buffer; readonly escalate: Decision | undefined; readonly shown: () => string } | { readonly decision: Decision; readonly why: string }> {
    const settings = settingsOf(this.core);
    const show = (text: Buffer, hidden = false) => (): string => (hidden ? `(a message of ${text.length} bytes; what stands in it is encoded and not shown)` : redactForCard(maskCredentials(text.toString('utf8'), this.core.config.credentials), [], shownOnCards.http));
    const { scanForPII } = settings;
    if (!scanForPII && this.core.secrets.empty) return { message, escalate: undefined, shown: show(message) };
    const examined = await this.inspect({ bytes: message, contentType: '', mail: true }, settings);
    const addresses = await this.inspect({ ...valuesOf([sender, ...recipients].map((one) => Buffer.from(one))), contentType: '' }, settings);
    if (!examined || !addresses) return { decision: this.refusal('inspection.scanForPII', 'The message could not be inspected.', 'Send it again later, or a shorter one.'), why: 'the message could not be inspected' };
    const { rewritten, unread } = examined;
    const found = [...examined.found, ...addresses.found.filter(countsInName).map((one) => ({ ...one, place: 'an address' }))].filter(({ type }) => scanForPII || type === 'known-secret');
    if (unread && scanForPII) return { decision: this.refusal('inspection.scanForPII', 'The message is in a character encoding that cannot be searched.', 'Send it in UTF-8.'), why: 'the message is in a character encoding that cannot be searched' };
    const worst = strictest(found, settings);
    if (!worst) return { message, escalate: undefined, shown: show(message) };
    recordFound(this.about, 'mail', found, worst.action);
    const stop = (one: Found): { readonly decision: Decision; readonly why: string } => {
      const stopped = blocked(this.about, one);
      return { decision: stopped.decision, why: stopped.message };
    };
    if (worst.action === 'block') return stop(worst.found);
    const first = found.find((one) => actionFor(one, settings) === 'redact');
    // What cannot be taken out does not leave.
    if (first && !rewritten) return stop(first);
    const leaves = first && rewritten ? Buffer.from(rewritten.buffer, rewritten.byteOffset, rewritten.byteLength) : message;
    const hidden = found.some((one) => one.decoded === true && actionFor(one, settings) !== 'log');
    return { message: leaves, escalate: worst.action === 'escalate' ? askedAboutFinding(this.about, worst.found) : undefined, shown: show(leaves, hidden) };
  }

  /** What stands in a name or an address leaves with it. */
  async #leaks(text: string, counts: (found: Found) => boolean): Promise<boolean> {
    const stop = await this.stopIn([Buffer.from(text)], { way: 'mail', counts, place: () => 'an address' });
    if (this.over || !stop) return this.over;
    this.record('deny', stop.message, stop.decision);
    this.#send(550, denialLines(stop.decision, this.about.correlation));
    return true;
  }

  /** A person is asked about an address together with its mail. */
  readonly #countsNow = (found: Found): boolean => countsInName(found) && actionFor(found, settingsOf(this.core)) !== 'escalate';

  #pass(reply: SmtpReply): void {
    this.#send(reply.code, reply.lines.map((line) => maskCredentials(line, this.core.config.credentials)));
  }

  #mistake(code: number, text: string): void {
    this.#mistakes += 1;
    this.#left = this.#mistakes > mistakesLimit;
    this.#send(this.#left ? 421 : code, [text]);
  }

  #reset(): void {
    this.#sender = undefined;
    this.#recipients = [];
    this.settled();
  }

  #send(code: number, lines: readonly string[]): void {
    if (this.#client.writable) this.#client.write(lines.length === 0 ? silent : writeReply(code, lines));
  }
}

/** What the catalogue and thresholds may ask of a mail: the envelope, as it will be sent. */
function mailFacts(sender: string, recipients: readonly string[]): Map<string, unknown> {
  return new Map<string, unknown>([['recipient', recipients], ['sender', sender]]);
}

function denialLines(decision: Decision, eventId: string): string[] {
  return [`5.7.1 Denied by policy, rule ${decision.rules[0]?.id ?? 'default'} (event ${eventId})`, `5.7.1 ${decision.reason}`, ...(decision.hint === '' ? [] : [`5.7.1 ${decision.hint}`])];
}
