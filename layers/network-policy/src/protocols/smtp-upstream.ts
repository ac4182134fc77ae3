/** Our client side of SMTP: one connection to the real server, one command at a time, encrypted as the rule wants. */
import type { Socket } from 'node:net';
import type { Upstreams } from '../upstream/upstreams.ts';
import { ByteReader } from './byte-reader.ts';
import { extensionsOf, ReplyReader, stuffed } from './smtp-words.ts';
import type { SmtpReply } from './smtp-words.ts';

/** The server said something that is no SMTP, or has not what is required. `message` is for people. */
export class SmtpUpstreamProblem extends Error {}

const lineLimit = 4096;

export interface SmtpTarget {
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte on. */
  readonly implicit: boolean;
  readonly starttls: 'required' | 'allowed';
  /** ms until a reply has to be there. */
  readonly replyMs: number;
}

export class SmtpUpstream {
  #socket: Socket;
  #reader: ByteReader;
  readonly #target: SmtpTarget;
  /** Whether it is encrypted by now. */
  secure: boolean;
  extensions: ReadonlyMap<string, string> = new Map();

  private constructor(socket: Socket, target: SmtpTarget) {
    this.#socket = socket;
    this.#target = target;
    this.secure = target.implicit;
    this.#reader = new ByteReader(socket, target.replyMs);
  }

  /** Connects, greets, and encrypts by STARTTLS. Rejects with AddressRefused, SmtpUpstreamProblem or the network's error. */
  static async open(upstreams: Upstreams, target: SmtpTarget, name: string): Promise<SmtpUpstream> {
    const plain = await upstreams.connect(target.host, target.port, false);
    const up = new SmtpUpstream(target.implicit ? await upstreams.secure(plain, target.host, target.port, []) : plain, target);
    try {
      const greeting = await up.#reply();
      if (greeting.code !== 220) throw new SmtpUpstreamProblem(`the server greets with ${greeting.code}`);
      await up.#hello(name);
      if (!up.secure && up.extensions.has('STARTTLS')) {
        const ready = await up.say('STARTTLS');
        if (ready.code !== 220) throw new SmtpUpstreamProblem(`the server answers STARTTLS with ${ready.code}`);
        await up.#encrypt(upstreams);
        await up.#hello(name);
      } else if (!up.secure && target.starttls === 'required') throw new SmtpUpstreamProblem('the server does not offer STARTTLS, and the rule requires it');
      return up;
    } catch (error) {
      up.close();
      throw error;
    }
  }

  /** Sends one line (without CRLF) and reads its reply. */
  async say(line: string): Promise<SmtpReply> {
    if (/[\r\n\0]/.test(line)) throw new SmtpUpstreamProblem('a command has a line break in it');
    // A reply that nobody asked for would be taken for the one to this command.
    if (this.#reader.waiting > 0) throw new SmtpUpstreamProblem('the server speaks out of turn');
    this.#socket.write(Buffer.from(`${line}\r\n`, 'latin1'));
    return this.#reply();
  }

  /** Sends a whole message (lines ended by CRLF) after DATA. The reply to DATA itself if that is not 354. */
  async data(message: Buffer): Promise<SmtpReply> {
    const go = await this.say('DATA');
    if (go.code !== 354) return go;
    this.#socket.write(stuffed(message));
    return this.#reply();
  }

  /** Calls back when the server ends the connection. */
  onClose(listener: () => void): void {
    this.#socket.once('close', listener);
  }

  close(): void {
    this.#reader.detach();
    this.#socket.destroySoon();
  }

  async #hello(name: string): Promise<void> {
    const reply = await this.say(`EHLO ${name}`);
    if (reply.code !== 250) throw new SmtpUpstreamProblem(`the server answers EHLO with ${reply.code}`);
    this.extensions = extensionsOf(reply);
  }

  async #encrypt(upstreams: Upstreams): Promise<void> {
    // Bytes after the reply would be taken into the encrypted conversation (CVE-2011-0411 and its kin).
    if (this.#reader.waiting > 0) throw new SmtpUpstreamProblem('the server sent something after its answer to STARTTLS');
    this.#reader.detach();
    this.#socket = await upstreams.secure(this.#socket, this.#target.host, this.#target.port, []);
    this.#reader = new ByteReader(this.#socket, this.#target.replyMs);
    this.secure = true;
  }

  async #reply(): Promise<SmtpReply> {
    const reader = new ReplyReader();
    for (;;) {
      const taken = reader.take(await this.#reader.line(lineLimit));
      if (taken === 'bad') throw new SmtpUpstreamProblem('the server sent something that is no SMTP reply');
      if (taken !== 'more') return taken;
    }
  }
}
