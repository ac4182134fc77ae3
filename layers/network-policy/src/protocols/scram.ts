/** The client side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding. */
import { createHash, createHmac, pbkdf2 as derive, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const pbkdf2 = promisify(derive);
const mostIterations = 1_000_000;

/** The server's words are no SCRAM, or it does not know the password. */
export class ScramProblem extends Error {}

export class ScramClient {
  readonly #password: string;
  readonly #nonce: string;
  #expected: Buffer | undefined;
  /** Whether the server has shown that it knows the password. */
  verified = false;

  /** `nonce`: printable and without commas, never used twice. */
  constructor(password: string, nonce: string) {
    this.#password = password;
    this.#nonce = nonce;
  }

  first(): string {
    return `n,,${this.#firstBare()}`;
  }

  /** The answer to the server's first message. */
  async final(serverFirst: string): Promise<string> {
    const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([1-9]\d{0,6})(?:,.*)?$/.exec(serverFirst);
    const [, nonce = '', salt = '', iterations = ''] = match ?? [];
    if (!match || !nonce.startsWith(this.#nonce) || nonce === this.#nonce || Number(iterations) > mostIterations) throw new ScramProblem('the server answers SCRAM wrongly');
    const salted = await pbkdf2(this.#password.normalize('NFKC'), Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
    const withoutProof = `c=biws,r=${nonce}`;
    const signed = `${this.#firstBare()},${serverFirst},${withoutProof}`;
    const clientKey = hmac(salted, 'Client Key');
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed);
    this.#expected = hmac(hmac(salted, 'Server Key'), signed);
    return `${withoutProof},p=${Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0))).toString('base64')}`;
  }

  /** Throws unless the server has shown that it knows the password too. */
  verify(serverFinal: string): void {
    const shown = Buffer.from(/^v=([A-Za-z0-9+/=]+)(?:,.*)?$/.exec(serverFinal)?.[1] ?? '', 'base64');
    if (!this.#expected || this.#expected.length !== shown.length || !timingSafeEqual(this.#expected, shown)) throw new ScramProblem('the server does not know the password');
    this.verified = true;
  }

  #firstBare(): string {
    return `n=,r=${this.#nonce}`;
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}
